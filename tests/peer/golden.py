"""Makes a golden folder with `transformers`: small models with random weights, fixed inputs, expected outputs.

    pip install torch==2.9.0 transformers==5.23.0
    python tests/peer/golden.py OUT --seed 3
    cargo xtask parity --golden OUT

In an environment without torchvision: with it, the processors resize in another way than Pillow.

The folders of this repository were made with `--seed 5` and, since tests of other things copy them, `--plain` for
hf/opt-tiny hf/flant5-tiny hf/itm-tiny parts/dinov2 parts/llama parts/opt parts/t5-erf parts/clip parts/siglip-vision.

The layout is that of `tests/golden` (`hf/*` and `parts/*`), from whose `hf` folders the tokenizers are taken. Everything else
is drawn by the seed: widths, depths, epsilons, numbers of queries, how often the Q-Former reads the image, the number format
of the weights and in how many files they lie. What is expected is computed in f32 from the weights as they were saved.
"""

import argparse
import json
import random
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
PROMPTS = ["", "a photo of", "Question: what color is the dog? Answer:"]
TEXTS = ["a small red circle above a blue square", "two people riding horses", "what color is the dog?"]
GENERATION = [
    {"num_beams": 1, "max_new_tokens": 12, "do_sample": False},
    {"num_beams": 5, "max_new_tokens": 10, "length_penalty": -1.0, "do_sample": False},
    {"num_beams": 3, "max_new_tokens": 12, "min_length": 8, "repetition_penalty": 1.5, "do_sample": False},
    {"num_beams": 4, "max_new_tokens": 10, "no_repeat_ngram_size": 2, "do_sample": False},
]


class Maker:
    def __init__(self, out: Path, seed: int, tokenizers: Path, plain: list[str]):
        self.out, self.tokenizers, self.plain = out, tokenizers, plain
        self.draw = random.Random(seed)
        self.numbers = torch.Generator().manual_seed(seed)

    def ids(self, first: int, last: int, rows: int, tokens: int) -> torch.Tensor:
        return torch.randint(first, last, (rows, tokens), generator=self.numbers)

    def values(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.numbers)

    def save(self, folder: str, model):
        """Random weights, saved in a drawn format and number of files; returns the model that the files hold, in f32."""
        for part in model.modules():
            # FlanT5 keeps an output head of its own, whatever its configuration says.
            if isinstance(part, hf.T5ForConditionalGeneration) and part.config.dense_act_fn == "gelu":
                part.lm_head.weight = torch.nn.Parameter(part.lm_head.weight.clone())
        with torch.no_grad():
            for name, value in model.named_parameters():
                noise = torch.randn(value.shape, generator=self.numbers)
                if value.dim() > 1:
                    fan_in = value[0].numel() if value.dim() > 2 or value.shape[0] > 1 else 1
                    value.copy_(noise * min(1.0, 1.4 / fan_in**0.5))
                elif name.endswith("weight") or "lambda" in name:
                    value.copy_(1 + 0.1 * noise)
                else:
                    value.copy_(0.1 * noise)
        path = self.out / folder
        shutil.rmtree(path, ignore_errors=True)
        dtype = self.draw.choice([torch.float32, torch.bfloat16, torch.float16])
        shard = self.draw.choice(["90KB", "200KB", "1GB"])
        if folder in self.plain:
            dtype, shard = torch.float32, "1GB"
        model.to(dtype).save_pretrained(path, max_shard_size=shard)
        files = sorted(file.name for file in path.glob("*.safetensors"))
        print(f"{folder}: {str(dtype)[6:]}, {len(files)} file(s), {sum(p.numel() for p in model.parameters())} values")
        read = type(model).from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
        return path, read.eval()

    def sizes(self, heads=(2, 3, 4), per_head=(8, 12, 16)) -> dict:
        heads = self.draw.choice(heads)
        return {
            "hidden_size": heads * self.draw.choice(per_head),
            "num_attention_heads": heads,
            "num_hidden_layers": self.draw.randint(2, 4),
            "intermediate_size": 4 * self.draw.randint(10, 24),
        }

    def picture(self, patches=(2, 5)) -> dict:
        patch = self.draw.choice([6, 8, 10, 14])
        return {"image_size": patch * self.draw.randint(*patches), "patch_size": patch}

    def epsilon(self) -> float:
        return self.draw.choice([1e-6, 1e-5, 3e-5])

    def vision(self) -> dict:
        return {**self.sizes(), **self.picture(), "layer_norm_eps": self.epsilon()}

    def qformer(self, width: int, **more) -> dict:
        sizes = self.sizes(heads=(2, 4))
        frequency = self.draw.choice([1, 2, 3])
        return {
            **sizes,
            "num_hidden_layers": frequency * 2 if frequency > 1 else 3,
            "cross_attention_frequency": frequency,
            "encoder_hidden_size": width,
            "layer_norm_eps": self.draw.choice([1e-12, 1e-7]),
            **more,
        }


def write(path: Path, tensors: dict, cases: dict | None = None):
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path / "expected.safetensors")
    if cases is not None:
        (path / "cases.json").write_text(json.dumps(cases, indent=1))


def pictures(make: Maker, path: Path) -> list[Image.Image]:
    """Three pictures of drawn sizes with shapes in them, so that resizing has edges to get wrong."""
    images = []
    for index in range(3):
        width, height = make.draw.randint(30, 110), make.draw.randint(30, 110)
        across, down = np.meshgrid(np.arange(width), np.arange(height))
        stripes = (across // make.draw.randint(3, 9) + down // make.draw.randint(3, 9)) % 2
        shade = np.stack([across * 255 // width, down * 255 // height, stripes * 200], axis=-1)
        image = Image.fromarray(shade.astype(np.uint8))
        image.save(path / f"image{index}.png")
        images.append(Image.open(path / f"image{index}.png"))
    return images


def processor(make: Maker, path: Path, like: str, side: int, queries: int | None):
    tokenizer = hf.AutoTokenizer.from_pretrained(make.tokenizers / like)
    image = hf.BlipImageProcessor(size={"height": side, "width": side})
    made = hf.Blip2Processor(image, tokenizer, num_query_tokens=queries)
    made.save_pretrained(path)
    return made


def written(made, model, batch, image: str, prompt: str, settings: dict) -> dict:
    """A text of the model, with all that it was asked."""
    ids = model.generate(**batch, **settings)[0]
    return {
        "image": image,
        "prompt": prompt,
        "input_ids": batch.input_ids[0].tolist(),
        "params": settings,
        "ids": ids.tolist(),
        "text": made.decode(ids, skip_special_tokens=True),
    }


def blip2(make: Maker, name: str, like: str, text: dict):
    vision = make.vision()
    queries = make.draw.randint(3, 9)
    source = json.loads((make.tokenizers / like / "config.json").read_text())
    config = hf.Blip2Config(
        vision_config=vision,
        qformer_config=make.qformer(vision["hidden_size"], vocab_size=40),
        text_config=text,
        num_query_tokens=queries,
        image_token_index=source["image_token_index"],
    )
    path, model = make.save(f"hf/{name}", hf.Blip2ForConditionalGeneration(config))
    made = processor(make, path, like, vision["image_size"], queries)
    expected, cases = {}, []
    for index, (image, prompt) in enumerate(zip(pictures(make, path), PROMPTS)):
        batch = made(images=image, text=prompt, return_tensors="pt")
        seen = model.vision_model(batch.pixel_values).last_hidden_state
        read = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=seen).last_hidden_state
        more = {} if text["model_type"] == "opt" else {"decoder_input_ids": torch.tensor([[0, 5, 9]])}
        expected |= {
            f"{index}.pixel_values": batch.pixel_values,
            f"{index}.vision": seen,
            f"{index}.qformer": read,
            f"{index}.projected": model.language_projection(read),
            f"{index}.logits": model(**batch, **more).logits,
        }
        for settings in GENERATION:
            cases.append(written(made, model, batch, f"image{index}.png", prompt, settings))
    write(path, expected, {"generate": cases, "batch": None})


def opt_text(make: Maker, vocabulary: int) -> dict:
    sizes = make.sizes()
    return {
        "model_type": "opt",
        "hidden_size": sizes["hidden_size"],
        "word_embed_proj_dim": sizes["hidden_size"],
        "num_attention_heads": sizes["num_attention_heads"],
        "num_hidden_layers": sizes["num_hidden_layers"],
        "ffn_dim": sizes["intermediate_size"],
        "vocab_size": vocabulary,
        "max_position_embeddings": 96,
        "bos_token_id": 2,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def t5_text(make: Maker, vocabulary: int, activation: str) -> dict:
    sizes = make.sizes()
    return {
        "model_type": "t5",
        "d_model": sizes["hidden_size"],
        "d_kv": make.draw.choice([8, 12]),
        "d_ff": sizes["intermediate_size"],
        "num_heads": sizes["num_attention_heads"],
        "num_layers": sizes["num_hidden_layers"],
        # The reference makes room in its cache for as many decoder layers as there are encoder layers.
        "num_decoder_layers": make.draw.randint(2, sizes["num_hidden_layers"]),
        "relative_attention_num_buckets": make.draw.choice([16, 32]),
        "feed_forward_proj": "gated-gelu",
        "dense_act_fn": activation,
        "layer_norm_epsilon": make.epsilon(),
        "vocab_size": vocabulary,
        "decoder_start_token_id": 0,
        # FlanT5 neither ties nor scales its output; the first T5 does both.
        **({"tie_word_embeddings": False} if activation == "gelu" else {}),
    }


def itm(make: Maker):
    like = "itm-tiny"
    source = json.loads((make.tokenizers / like / "config.json").read_text())
    vision = make.vision()
    config = hf.Blip2Config(
        vision_config=vision,
        qformer_config=make.qformer(
            vision["hidden_size"],
            vocab_size=source["qformer_config"]["vocab_size"],
            max_position_embeddings=make.draw.randint(32, 64),
            use_qformer_text_input=True,
        ),
        text_config=opt_text(make, 40),
        num_query_tokens=make.draw.randint(3, 9),
        image_text_hidden_size=make.draw.randint(8, 24),
    )
    path, model = make.save("hf/itm-tiny", hf.Blip2ForImageTextRetrieval(config))
    made = processor(make, path, like, vision["image_size"], None)
    expected, pairs = {}, []
    for index, (image, text) in enumerate(zip(pictures(make, path), TEXTS)):
        batch = made(images=image, text=text, return_tensors="pt")
        match = model(**batch, use_image_text_matching_head=True).logits_per_image
        contrast = model(**batch, use_image_text_matching_head=False)
        expected |= {
            f"{index}.pixel_values": batch.pixel_values,
            f"{index}.itm_logits": match,
            f"{index}.image_embeds": contrast.image_embeds,
            f"{index}.text_embeds": contrast.text_embeds,
        }
        pairs.append(
            {
                "image": f"image{index}.png",
                "text": text,
                "input_ids": batch.input_ids[0].tolist(),
                "itm_probability": match.softmax(dim=1)[0, 1].item(),
                "itc": contrast.logits_per_image.flatten().tolist(),
            }
        )
    write(path, expected, {"pairs": pairs})


def encoders(make: Maker):
    sizes = make.vision()
    path, model = make.save("parts/siglip-vision", hf.SiglipVisionModel(hf.SiglipVisionConfig(**sizes)))
    pixels = make.values(3, 3, sizes["image_size"], sizes["image_size"])
    write(path, {"pixel_values": pixels, "last_hidden": model(pixels).last_hidden_state})

    sizes = make.vision()
    path, model = make.save(
        "parts/dinov2", hf.Dinov2Model(hf.Dinov2Config(**sizes, mlp_ratio=make.draw.randint(2, 4)))
    )
    pixels = make.values(2, 3, sizes["image_size"], sizes["image_size"])
    other = sizes["image_size"] + make.draw.randint(1, 3) * sizes["patch_size"]
    larger = make.values(2, 3, other, other)
    write(
        path,
        {
            "pixel_values": pixels,
            "last_hidden": model(pixels).last_hidden_state,
            f"pixel_values_{other}": larger,
            f"last_hidden_{other}": model(larger).last_hidden_state,
        },
    )

    vision, text, last = make.vision(), make.sizes(), 119
    config = hf.CLIPConfig(
        vision_config={**vision, "hidden_act": "quick_gelu"},
        text_config={
            **text,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": make.epsilon(),
            "vocab_size": last + 1,
            "max_position_embeddings": 20,
            "bos_token_id": last - 1,
            "eos_token_id": last,
            "pad_token_id": last,
        },
        projection_dim=make.draw.choice([16, 20, 32]),
    )
    path, model = make.save("parts/clip", hf.CLIPModel(config))
    pixels = make.values(3, 3, vision["image_size"], vision["image_size"])
    ids, mask = make.ids(5, last - 1, 4, 9), torch.ones(4, 9, dtype=torch.long)
    ids[:, 0], ids[:, -1] = last - 1, last
    for row, end in ((0, 6), (2, 4)):
        ids[row, end:], mask[row, end + 1 :] = last, 0
    out = model(input_ids=ids, attention_mask=mask, pixel_values=pixels)
    states = model.vision_model(pixels, output_hidden_states=True).hidden_states
    write(
        path,
        {
            "pixel_values": pixels,
            "input_ids": ids,
            "attention_mask": mask,
            "vision.last_hidden": states[-1],
            "vision.second_last_hidden": states[-2],
            "image_embeds": out.image_embeds,
            "text_embeds": out.text_embeds,
            "logits_per_image": out.logits_per_image,
        },
    )


def llama_text(make: Maker, vocabulary: int) -> dict:
    return {
        **make.sizes(heads=(4, 6), per_head=(8, 12)),
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 128,
        "rms_norm_eps": make.epsilon(),
        "rope_parameters": {"rope_type": "default", "rope_theta": make.draw.choice([1e4, 1e5])},
        "tie_word_embeddings": make.draw.choice([True, False]),
    }


def first_language_models(make: Maker, vocabulary: int) -> dict:
    return {
        "llama": hf.LlamaConfig(**llama_text(make, vocabulary)),
        "opt": hf.OPTConfig(**opt_text(make, vocabulary)),
        "t5": hf.T5Config(**t5_text(make, vocabulary, "gelu_new")),
        "t5-erf": hf.T5Config(**t5_text(make, vocabulary, "gelu")),
    }


def later_language_models(make: Maker, vocabulary: int) -> dict:
    return {"qwen2": hf.Qwen2Config(**llama_text(make, vocabulary))}


def newest_language_models(make: Maker, vocabulary: int) -> dict:
    """Gemma 3 with windows shorter than the texts, and a head width that is not the hidden size's share."""
    sizes = llama_text(make, vocabulary)
    theta = sizes.pop("rope_parameters")["rope_theta"]
    layers, pattern = make.draw.randint(3, 5), make.draw.choice([2, 3])
    return {
        "gemma3": hf.Gemma3TextConfig(
            **{**sizes, "num_hidden_layers": layers},
            head_dim=make.draw.choice([6, 10, 16]),
            query_pre_attn_scalar=make.draw.choice([8, 12, 20]),
            sliding_window=make.draw.randint(3, 6),
            layer_types=["full_attention" if (i + 1) % pattern == 0 else "sliding_attention" for i in range(layers)],
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": theta},
                "full_attention": make.draw.choice(
                    [
                        {"rope_type": "default", "rope_theta": 1e6},
                        {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                    ]
                ),
            },
        )
    }


def related_language_models(make: Maker, vocabulary: int) -> dict:
    """Of Llama's build with a difference: rotary embeddings scaled in both ways, a window that no text fills, norms of heads."""
    scalings = {
        "llama-scaled": {
            "rope_type": "llama3",
            "factor": make.draw.choice([4.0, 8.0, 32.0]),
            "low_freq_factor": 1.0,
            "high_freq_factor": make.draw.choice([2.0, 4.0]),
            # Some wavelengths of a small head are below, some between and some above what is scaled.
            "original_max_position_embeddings": make.draw.choice([100, 128]),
        },
        "llama-stretched": {"rope_type": "linear", "factor": make.draw.choice([2.0, 2.5])},
    }
    models = {}
    for name, scaling in scalings.items():
        sizes = llama_text(make, vocabulary)
        sizes["rope_parameters"] = {**sizes["rope_parameters"], **scaling}
        models[name] = hf.LlamaConfig(**sizes)
    models["mistral"] = hf.MistralConfig(**llama_text(make, vocabulary), sliding_window=make.draw.choice([None, 64]))
    models["qwen3"] = hf.Qwen3Config(**llama_text(make, vocabulary), head_dim=make.draw.choice([6, 10, 16]))
    return models


def language_models(make: Maker, configurations):
    vocabulary = 300
    queries, tokens = make.draw.randint(3, 6), make.draw.randint(6, 9)
    ids = make.ids(10, vocabulary, 2, tokens)
    mask = torch.ones(2, queries + tokens, dtype=torch.long)
    mask[1, -2:] = 0
    configs = configurations(make, vocabulary)
    for name, config in configs.items():
        encoder_decoder = name.startswith("t5")
        build = hf.AutoModelForSeq2SeqLM if encoder_decoder else hf.AutoModelForCausalLM
        path, model = make.save(f"parts/{name}", build.from_config(config))
        prefix = make.values(2, queries, getattr(config, "hidden_size", None) or config.d_model) * 0.5
        inputs = torch.cat([prefix, model.get_input_embeddings()(ids)], dim=1)
        if encoder_decoder:
            labels = make.ids(3, vocabulary, 2, 6)
            labels[1, 4:] = -100
        else:
            labels = torch.cat([torch.full((2, queries), -100), ids], dim=1).masked_fill(mask == 0, -100)
        out = model(inputs_embeds=inputs, attention_mask=mask, labels=labels)
        expected = {
            "prefix_embeds": prefix,
            "input_ids": ids,
            "attention_mask": mask,
            "logits": out.logits,
            "loss": out.loss,
        }
        if encoder_decoder:
            expected["labels"] = labels
        if not encoder_decoder and name != "opt":
            expected["beam4_ids"] = model.generate(
                inputs_embeds=inputs[:1], attention_mask=mask[:1], num_beams=4, max_new_tokens=10, do_sample=False
            )
        write(path, expected)


def bert(make: Maker):
    sizes = make.sizes(heads=(2, 4))
    config = hf.BertConfig(**sizes, vocab_size=90, max_position_embeddings=40)
    path, model = make.save("parts/bert", hf.BertForMaskedLM(config))
    ids, mask = make.ids(5, 90, 3, 11), torch.ones(3, 11, dtype=torch.long)
    mask[1, 7:] = 0
    out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    write(
        path,
        {"input_ids": ids, "attention_mask": mask, "last_hidden": out.hidden_states[-1], "logits": out.logits},
    )


def captioner(make: Maker):
    vision, text, vocabulary = make.vision(), make.sizes(heads=(2, 4)), 110
    config = hf.BlipConfig(
        vision_config=vision,
        text_config={
            **text,
            "vocab_size": vocabulary,
            "max_position_embeddings": 40,
            "encoder_hidden_size": vision["hidden_size"],
            "bos_token_id": vocabulary - 2,
            "sep_token_id": 102,
            "eos_token_id": 102,
            "is_decoder": True,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
    )
    path, model = make.save("parts/blip-captioner", hf.BlipForConditionalGeneration(config))
    pixels = make.values(3, 3, vision["image_size"], vision["image_size"])
    ids = torch.tensor([[vocabulary - 2, 10, 11]] * 3)
    seen = model.vision_model(pixels).last_hidden_state
    # The model's own `generate` drops the last id of a prompt, which is an end token there.
    ended = torch.cat([ids, torch.full((3, 1), 102)], dim=1)
    write(
        path,
        {
            "pixel_values": pixels,
            "input_ids": ids,
            "image_embeds": seen,
            "logits": model(pixel_values=pixels, input_ids=ids).logits,
            "beam3_ids": model.generate(pixels, ended, num_beams=3, max_new_tokens=10, do_sample=False),
        },
    )


def instructblip(make: Maker):
    vision, queries = make.vision(), make.draw.randint(3, 8)
    source = json.loads((make.tokenizers / "opt-tiny" / "config.json").read_text())
    reader = hf.AutoTokenizer.from_pretrained(make.tokenizers / "itm-tiny")
    vocabulary, image_token = source["text_config"]["vocab_size"], source["image_token_index"]
    llama = make.sizes(heads=(4, 6), per_head=(8, 12))
    config = hf.InstructBlipConfig(
        vision_config=vision,
        qformer_config=make.qformer(vision["hidden_size"], vocab_size=len(reader), max_position_embeddings=40),
        text_config={
            **llama,
            "model_type": "llama",
            "vocab_size": vocabulary,
            "rms_norm_eps": make.epsilon(),
            "bos_token_id": 2,
            "eos_token_id": 2,
            "pad_token_id": 1,
        },
        num_query_tokens=queries,
        image_token_index=image_token,
    )
    path, model = make.save("parts/instructblip-llama", hf.InstructBlipForConditionalGeneration(config))
    side = vision["image_size"]
    made = hf.InstructBlipProcessor(
        hf.BlipImageProcessor(size={"height": side, "width": side}),
        hf.AutoTokenizer.from_pretrained(make.tokenizers / "opt-tiny"),
        reader,
        num_query_tokens=queries,
    )
    made.save_pretrained(path)
    cases = []
    for index, (image, prompt) in enumerate(zip(pictures(make, path), TEXTS)):
        batch = made(images=image, text=prompt, return_tensors="pt")
        for settings in GENERATION:
            cases.append(written(made, model, batch, f"image{index}.png", prompt, settings))
    pixels = make.values(2, 3, side, side)
    instruction, mask = make.ids(5, len(reader), 2, 8), torch.ones(2, 8, dtype=torch.long)
    mask[1, 5:] = 0
    text = make.ids(10, image_token, 2, 6)
    ids = torch.cat([torch.full((2, queries), image_token), text], dim=1)
    out = model(
        pixel_values=pixels,
        qformer_input_ids=instruction,
        qformer_attention_mask=mask,
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
    )
    expected = {
        "pixel_values": pixels,
        "qformer_input_ids": instruction,
        "qformer_attention_mask": mask,
        "text_ids": text,
        "logits": out.logits,
    }
    write(path, expected, {"generate": cases})


@torch.no_grad()
def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path, help="the golden folder to make")
    arguments.add_argument("--seed", type=int, default=3)
    arguments.add_argument("--tokenizers", type=Path, default=HERE.parent / "golden" / "hf")
    arguments.add_argument("--plain", nargs="*", default=[], metavar="FOLDER", help="folders with one file in f32")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    make = Maker(chosen.out, chosen.seed, chosen.tokenizers, chosen.plain)
    blip2(make, "opt-tiny", "opt-tiny", opt_text(make, 520))
    blip2(make, "flant5-tiny", "flant5-tiny", t5_text(make, 240, "gelu"))
    itm(make)
    encoders(make)
    language_models(make, first_language_models)
    bert(make)
    captioner(make)
    instructblip(make)
    # Behind what was there before, whose numbers stay what they are.
    language_models(make, later_language_models)
    language_models(make, newest_language_models)
    language_models(make, related_language_models)


if __name__ == "__main__":
    main()
