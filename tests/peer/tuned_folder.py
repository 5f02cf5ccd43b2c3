"""What transformers, with peft where there are low-rank updates, writes about a picture with a folder that `blip2 convert --to hf` made
of a fine-tuning run: compare with `blip2 caption --model RUN --json`, or with `blip2 ask` where a question is given. Of an InstructBLIP,
also what its language model sees of the picture.

    tuned_folder.py FOLDER PICTURE [--prompt TEXT | --question TEXT] [--tokens N] [--least N] [--end ID]...
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from PIL import Image
from transformers import AutoProcessor

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("--prompt", default="")
parser.add_argument("--question")
parser.add_argument("--tokens", type=int, default=12)
parser.add_argument("--least", type=int, default=0)
parser.add_argument("--end", type=int, action="append")
options = parser.parse_args()

architecture = json.loads((options.folder / "config.json").read_text())["architectures"][0]
kind = getattr(transformers, architecture)
model, loading = kind.from_pretrained(options.folder, dtype=torch.float32, output_loading_info=True)
model.eval()
complaints = {what: sorted(map(str, names)) for what, names in loading.items() if names}
assert not complaints, complaints
updates = options.folder / "adapter"
if updates.is_dir():
    from peft import PeftConfig, PeftModel

    # Of no task: PEFT 0.21's own classes for generation look for methods that transformers 5.23 has no more.
    config = PeftConfig.from_pretrained(updates)
    config.task_type = None
    model.language_model = PeftModel.from_pretrained(model.language_model, updates, config=config).base_model.model.eval()
# Pixels as Pillow makes them, which this library does, too; those of torchvision are a little off.
processor = AutoProcessor.from_pretrained(options.folder, backend="pil")
picture = Image.open(options.picture).convert("RGB")
prompt = read = options.prompt
if options.question is not None:
    # How the model learned to be asked.
    asked = model.config.blip2
    prompt = asked["question_prompt"].replace("{}", options.question)
    read = options.question if asked["reads"] == "question" else prompt
inputs = processor(images=picture, text=prompt, return_tensors="pt")
instructed = "qformer_input_ids" in inputs
if read != prompt:
    # The processor gives one text to both.
    reading = processor.qformer_tokenizer(read, return_tensors="pt")
    inputs["qformer_input_ids"], inputs["qformer_attention_mask"] = reading["input_ids"], reading["attention_mask"]
record = {"architecture": type(model).__name__}
with torch.no_grad():
    ids = model.generate(
        **inputs,
        num_beams=1,
        do_sample=False,
        max_new_tokens=options.tokens,
        min_new_tokens=options.least,
        eos_token_id=options.end or model.config.text_config.eos_token_id,
    )
    if instructed:
        seen = {name: inputs[name] for name in ("pixel_values", "qformer_input_ids", "qformer_attention_mask")}
        record["projected"] = model.get_image_features(**seen).pooler_output.tolist()
# A text of T5 begins with its start token.
written = 1 if model.config.text_config.model_type == "t5" else inputs["input_ids"].shape[1]
ids = ids[0, written:].tolist()
record |= {"ids": ids, "text": processor.tokenizer.decode(ids, skip_special_tokens=True), "pixels": list(inputs["pixel_values"].shape)}
print(json.dumps(record))
