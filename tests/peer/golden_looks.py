"""Makes the `looks` folder of a golden folder with `transformers`: where the queries of its small models look, and what of that
speaks for a match.

    pip install torch==2.9.0 transformers==5.23.0
    python tests/peer/golden_looks.py tests/golden
    cargo xtask parity --golden tests/golden

Of each picture of each model in the folder, by layer that reads the picture: the cross-attentions of the queries, mean over heads,
alone and beside a text; and of models that match, attentions times their gradient of the logit of a match, clamped at zero, mean
over heads (as `compute_gradcam` of LAVIS has it for BLIP), of the queries to the picture (`image`) and to the text (`text`). The
class token of the encoder is left out.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import save_file

MODELS = {
    "hf/itm-tiny": hf.Blip2ForImageTextRetrieval,
    "hf/opt-tiny": hf.Blip2ForConditionalGeneration,
    "parts/instructblip-llama": hf.InstructBlipForConditionalGeneration,
}


def watched(qformer) -> dict:
    """By layer and kind, the attention probabilities of the last pass, whose gradients are kept."""
    seen = {}

    def keep(layer, kind):
        def hook(_module, _given, made):
            if made[1].requires_grad:
                made[1].retain_grad()
            seen[layer, kind] = made[1]

        return hook

    for number, layer in enumerate(qformer.encoder.layer):
        if layer.has_cross_attention:
            layer.attention.attention.register_forward_hook(keep(number, "own"))
            layer.crossattention.attention.register_forward_hook(keep(number, "image"))
    return seen


def looks(seen: dict, name: str) -> dict:
    return {
        f"{name}.{layer}": probabilities[0].mean(dim=0)[:, 1:]
        for (layer, kind), probabilities in seen.items()
        if kind == "image"
    }


def worth(seen: dict, queries: int) -> dict:
    found = {}
    for (layer, kind), probabilities in seen.items():
        weighted = (probabilities * probabilities.grad.clamp(min=0))[0].mean(dim=0)
        if kind == "image":
            found[f"image.{layer}"] = weighted[:, 1:]
        else:
            found[f"text.{layer}"] = weighted[:queries, queries:]
    return found


def pixels(processor, path: Path) -> torch.Tensor:
    """As Pillow resizes, whatever else the processor could resize with is installed."""
    image = processor.image_processor
    squashed = Image.open(path).convert("RGB").resize((image.size["width"], image.size["height"]), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(squashed).copy()).float() / 255
    return ((values - torch.tensor(image.image_mean)) / torch.tensor(image.image_std)).permute(2, 0, 1)[None]


def of_model(folder: Path, kind) -> list[tuple[dict, dict]]:
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    processor = hf.AutoProcessor.from_pretrained(folder)
    cases = json.loads((folder / "cases.json").read_text())
    texts = {case["image"]: case.get("text") if "pairs" in cases else case["prompt"] for case in sum(filter(None, cases.values()), [])}
    seen = watched(model.qformer)
    queries = model.config.num_query_tokens
    made = []
    for image, text in sorted(texts.items()):
        batch = processor(images=Image.open(folder / image).convert("RGB"), text=text, return_tensors="pt")
        batch["pixel_values"] = pixels(processor, folder / image)
        features = model.vision_model(batch.pixel_values).last_hidden_state
        tokens = model.query_tokens
        if kind is hf.Blip2ForImageTextRetrieval:
            tokens = model.embeddings(query_embeds=tokens)
        tensors = {}
        if kind is not hf.InstructBlipForConditionalGeneration:
            model.qformer(query_embeds=tokens, encoder_hidden_states=features)
            tensors |= looks(seen, "alone")
        else:
            mask = torch.cat([torch.ones(1, queries), batch.qformer_attention_mask], dim=1)
            model.qformer(
                input_ids=batch.qformer_input_ids,
                attention_mask=mask,
                query_embeds=tokens,
                encoder_hidden_states=features,
            )
            tensors |= looks(seen, "beside")
        if kind is hf.Blip2ForImageTextRetrieval:
            logits = model(**batch, use_image_text_matching_head=True).logits_per_image
            logits[:, 1].sum().backward()
            tensors |= looks(seen, "beside") | worth(seen, queries)
        made.append(({"image": image, "text": text}, tensors))
    return made


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("golden", type=Path)
    golden = arguments.parse_args().golden
    cases, expected = [], {}
    for name, kind in MODELS.items():
        for case, tensors in of_model(golden / name, kind):
            expected |= {f"{len(cases)}.{key}": value.detach().contiguous() for key, value in tensors.items()}
            cases.append({"model": name, **case})
    folder = golden / "looks"
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    save_file(expected, folder / "expected.safetensors")


main()
