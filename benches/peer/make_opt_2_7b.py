"""Makes a folder of the size of Salesforce/blip2-opt-2.7b with random weights in bf16, as transformers saves it: 7.5 GB.

The tokenizer has OPT's special tokens, the bytes, and words without meaning up to OPT's number of ids.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from device import DEVICE

FOLDER = Path(os.environ["BLIP2_HOME"]) / "peer/blip2-opt-2.7b-random"
WORDS, IMAGE_TOKEN, ROWS = 50265, 50265, 50304
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
DEVIATION = 0.02


def configuration():
    text = OPTConfig(
        hidden_size=2560,
        word_embed_proj_dim=2560,
        ffn_dim=10240,
        num_hidden_layers=32,
        num_attention_heads=32,
        vocab_size=ROWS,
        eos_token_id=50118,
    )
    return Blip2Config(text_config=text.to_dict(), num_query_tokens=32, image_token_index=IMAGE_TOKEN)


def random_model():
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(configuration()).to(torch.bfloat16)
    model = model.to_empty(device=DEVICE)
    model.tie_weights()
    generator = torch.Generator(DEVICE).manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "norm" in name.lower()
            if name.endswith("bias"):
                parameter.zero_()
            elif norm and parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, DEVIATION, generator=generator)
    return model


def processor():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = SPECIAL + alphabet
    words += [f"Ġword{number}" for number in range(WORDS - len(words))]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing("</s> $A", "</s> $A $B", [("</s>", 2)])
    special = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), ["</s>", "<pad>", "</s>", "<unk>"]))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    return Blip2Processor(BlipImageProcessor(size={"height": 224, "width": 224}), fast, num_query_tokens=32)


def main():
    if FOLDER.exists():
        return
    partial = FOLDER.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model = random_model()
    model.generation_config.eos_token_id = 50118
    model.save_pretrained(partial, max_shard_size="2GB")
    processor().save_pretrained(partial)
    index = json.loads((partial / "model.safetensors.index.json").read_text())
    print(f"{index['metadata']['total_size'] / 1e9:.1f} GB in {FOLDER}")
    partial.rename(FOLDER)


if __name__ == "__main__":
    main()
