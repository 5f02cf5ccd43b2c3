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
    from peft import PeftConfig, PeftModel

    # Of no task: PEFT 0.21's own classes for generation look for methods that transformers 5.23 has no more.
    config = PeftConfig.from_pretrained(updates)
    config.task_type = None
    model.language_model = PeftModel.from_pretrained(model.language_model, updates, config=config).base_model.model.eval()
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
# A text of T5 begins with its start token.
prompt = 1 if model.config.text_config.model_type == "t5" else inputs["input_ids"].shape[1]
ids = ids[0, prompt:].tolist()
print(json.dumps({"ids": ids, "text": processor.tokenizer.decode(ids, skip_special_tokens=True), "pixels": list(inputs["pixel_values"].shape)}))
