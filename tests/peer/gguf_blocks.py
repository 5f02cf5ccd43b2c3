"""Makes the file that ggml's number formats are tested against: random blocks of each, and what they stand for.

    pip install gguf==0.19.0
    python tests/peer/gguf_blocks.py crates/core/src/weights/gguf/tests/blocks.gguf

Tensor `NAME` holds two rows of random bits in the format NAME, `NAME.values` what the reference makes of them, in f32.
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Format, GGUFWriter
from gguf.quants import dequantize

ROWS, WIDTH = 2, 512
# Bytes of a block at which a number in half precision begins: any bits elsewhere mean something.
HALVES = {
    Format.Q4_0: [0],
    Format.Q4_1: [0, 2],
    Format.Q5_0: [0],
    Format.Q5_1: [0, 2],
    Format.Q8_0: [0],
    Format.Q2_K: [80, 82],
    Format.Q3_K: [108],
    Format.Q4_K: [0, 2],
    Format.Q5_K: [0, 2],
    Format.Q6_K: [208],
}


def blocks(numbers, form):
    values, size = GGML_QUANT_SIZES[form]
    bits = numbers.integers(0, 256, (ROWS, WIDTH // values, size), dtype=np.uint8)
    for place in HALVES[form]:
        half = numbers.normal(0.0, 0.1, bits.shape[:2]).astype(np.float16)
        bits[:, :, place : place + 2] = half[..., None].view(np.uint8)
    return bits.reshape(ROWS, -1)


def main():
    numbers = np.random.default_rng(3)
    writer = GGUFWriter(sys.argv[1], "none")
    for form in HALVES:
        bits = blocks(numbers, form)
        writer.add_tensor(form.name, bits, raw_dtype=form)
        writer.add_tensor(f"{form.name}.values", dequantize(bits, form).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
