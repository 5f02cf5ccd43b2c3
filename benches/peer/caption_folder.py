"""A folder of pictures, captioned in batches by the folder of the size of blip2-opt-2.7b."""

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from dtypes import dtype
from generate import FOLDER, HOME


def build(pictures, batch, tokens, precision):
    files = sorted((HOME / "pictures").iterdir())
    if len(files) != pictures:
        raise RuntimeError(f"{HOME / 'pictures'} holds {len(files)} pictures, not {pictures}")
    model = Blip2ForConditionalGeneration.from_pretrained(FOLDER, dtype=dtype(precision)).eval()
    processor = Blip2Processor.from_pretrained(FOLDER)

    @torch.inference_mode()
    def run():
        for first in range(0, len(files), batch):
            opened = [Image.open(file).convert("RGB") for file in files[first : first + batch]]
            inputs = processor(opened, text=[""] * len(opened), return_tensors="pt").to(dtype(precision))
            written = model.generate(**inputs, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False)
            new = written.shape[1] - inputs["input_ids"].shape[1]
            if new != tokens:
                raise RuntimeError(f"{new} tokens were written, not {tokens}")
            processor.batch_decode(written, skip_special_tokens=True)

    return run
