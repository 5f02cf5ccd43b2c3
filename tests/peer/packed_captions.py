"""Greedy captions of a model with its frozen weights packed in 8 and 4 bits, word for word beside those in bf16.

    cargo build --release -p blip2-cli
    python tests/peer/packed_captions.py target/release/blip2 runs/long runs/long/pictures/*.png
"""

import argparse
import json
import subprocess


def captions(program: str, model: str, dtype: str, pictures: list[str]) -> list[str]:
    command = [program, "caption", "--model", model, "--dtype", dtype, "--num-beams", "1", "--json", *pictures]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line)["text"] for line in lines]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", help="path of the program `blip2`")
    arguments.add_argument("model")
    arguments.add_argument("pictures", nargs="+")
    chosen = arguments.parse_args()
    expected = captions(chosen.program, chosen.model, "bf16", chosen.pictures)
    for dtype in ["f32", "int8", "int4"]:
        pairs = list(zip(captions(chosen.program, chosen.model, dtype, chosen.pictures), expected))
        words = [(a, b) for text, other in pairs for a, b in zip(text.split(), other.split())]
        same = sum(text == other for text, other in pairs)
        print(f"{dtype}: {same} of {len(pairs)} captions as in bf16, {sum(a == b for a, b in words)} of "
              f"{sum(len(other.split()) for _, other in pairs)} words")
        for text, other in pairs:
            if text != other:
                print(f"    {text}  |  {other}")


if __name__ == "__main__":
    main()
