"""What transformers, with peft where there are low-rank updates, writes about a picture with a folder that `blip2 convert --to hf` made
of a fine-tuning run: compare with `blip2 caption --model RUN --json`.

    tuned_folder.py FOLDER PICTURE [--prompt TEXT] [--tokens N] [--end ID]...
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, Blip2ForConditionalGeneration

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("--prompt", default="")
parser.add_argument("--tokens", type=int, default=12)
parser.add_argument("--end", type=int, action="append")
options = parser.parse_args()

model = Blip2ForConditionalGeneration.from_pretrained(options.folder, dtype=torch.float32).eval()
updates = options.folder / "adapter"
if updates.is_dir():
    from peft import PeftModel

    model.language_model = PeftModel.from_pretrained(model.language_model, updates).eval()
processor = AutoProcessor.from_pretrained(options.folder)
picture = Image.open(options.picture).convert("RGB")
inputs = processor(images=picture, text=options.prompt, return_tensors="pt")
with torch.no_grad():
    ids = model.generate(
        **inputs,
        num_beams=1,
        do_sample=False,
        max_new_tokens=options.tokens,
        eos_token_id=options.end or model.config.text_config.eos_token_id,
    )
prompt = 0 if model.config.text_config.model_type == "t5" else inputs["input_ids"].shape[1]
ids = ids[0, prompt:].tolist()
print(json.dumps({"ids": ids, "text": processor.tokenizer.decode(ids, skip_special_tokens=True), "pixels": list(inputs["pixel_values"].shape)}))
