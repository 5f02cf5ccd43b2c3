"""Captions by the folder of the size of blip2-opt-2.7b."""

import os
from pathlib import Path

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor
from transformers.utils import logging

from device import DEVICE
from dtypes import dtype

HOME = Path(os.environ["BLIP2_HOME"]) / "peer"
FOLDER = HOME / "blip2-opt-2.7b-random"
logging.disable_progress_bar()


def build(tokens, beams=1, pictures=1, precision="bf16"):
    model = Blip2ForConditionalGeneration.from_pretrained(FOLDER, dtype=dtype(precision)).to(DEVICE).eval()
    processor = Blip2Processor.from_pretrained(FOLDER)
    picture = Image.open(HOME / "picture.jpg").convert("RGB")

    @torch.inference_mode()
    def run():
        inputs = processor([picture] * pictures, text=[""] * pictures, return_tensors="pt").to(DEVICE, dtype(precision))
        written = model.generate(**inputs, num_beams=beams, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False)
        new = written.shape[1] - inputs["input_ids"].shape[1]
        if new != tokens:
            raise RuntimeError(f"{new} tokens were written, not {tokens}")

    return run
