"""Lets `transformers` and `torch.load` read what `blip2 convert` wrote.

    pip install torch==2.9.0 transformers==5.23.0
    cargo build --release -p blip2-cli
    python tests/peer/convert.py target/release/blip2 tests/golden

For each whole model under the golden folder: to LAVIS and back; `torch.load` must read the checkpoint without running code and
find every value, `transformers` must load the folder without a missing or an unexpected key and compute the same output in f32,
bit for bit where no key bias stayed behind. For each recorded EVA run of LAVIS: the checkpoint becomes a folder in which `transformers` computes LAVIS's own loss, or
its matching logits; the layer norm behind the encoder has another epsilon there, which is set to LAVIS's for the comparison.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers as hf
from safetensors import safe_open
from safetensors.torch import load_file

FAILURES = []


def check(name: str, passed: bool, detail: str = ""):
    print("ok  " if passed else "FAIL", name, detail)
    if not passed:
        FAILURES.append(name)


def convert(program: str, *arguments) -> dict:
    command = [program, "convert", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def load(architecture: str, folder: Path):
    """The model in `folder`, and whatever `transformers` complains of."""
    model, info = getattr(hf, architecture).from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    complaints = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}
    return model.eval(), complaints


def tensors(folder: Path) -> dict:
    found = {}
    for file in sorted(folder.glob("model*.safetensors")):
        found.update(load_file(file))
    return found


def inputs(model, architecture: str) -> dict:
    """Some input of the right form, the same for each call."""
    torch.manual_seed(1)
    config = model.config
    size = config.vision_config.image_size
    given = {"pixel_values": torch.randn(2, 3, size, size)}
    words = torch.randint(3, 40, (2, 6))
    if architecture == "Blip2ForImageTextRetrieval":
        return given | {"input_ids": words, "attention_mask": torch.ones_like(words), "use_image_text_matching_head": True}
    queries, image = config.num_query_tokens, config.image_token_id
    if image is None:
        image = config.text_config.vocab_size - 1
        config.image_token_id = config.image_token_index = image
    ids = torch.cat([torch.full((2, queries), image), words], 1)
    given |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if architecture.startswith("Instruct"):
        given |= {"qformer_input_ids": words, "qformer_attention_mask": torch.ones_like(words)}
    if config.text_config.is_encoder_decoder:
        given["decoder_input_ids"] = torch.tensor([[0, 5, 9]] * 2)
    return given


def output(model, architecture: str) -> torch.Tensor:
    with torch.no_grad():
        result = model(**inputs(model, architecture))
    return result.logits_per_image if architecture == "Blip2ForImageTextRetrieval" else result.logits


def there_and_back(program: str, folder: Path, architecture: str, work: Path):
    name = folder.name
    there, back, anew = work / f"{name}.lavis", work / f"{name}.back", work / f"{name}.anew"
    went = convert(program, folder, there, "--to", "lavis")
    state = torch.load(there / "model.pth", weights_only=True)["model"]
    check(f"{name}: torch.load", len(state) == went["written"], f"{len(state)} tensors")
    convert(program, there, back, "--to", "hf")
    convert(program, folder, anew, "--to", "hf")
    before = tensors(folder)
    for way, result in [("back from LAVIS", back), ("written anew", anew)]:
        original, _ = load(architecture, folder)
        model, complaints = load(architecture, result)
        check(f"{name}, {way}: no key missing or unexpected", not complaints, str(complaints or ""))
        after = tensors(result)
        same = [key for key in before if key in after and torch.equal(before[key], after[key])]
        different = sorted(set(before) - set(same))
        # A key's bias has no place in LAVIS; tied copies are not written twice.
        allowed = [key for key in different if key.endswith("qkv.bias") or key.endswith(("lm_head.weight", "embed_tokens.weight"))]
        check(f"{name}, {way}: the same tensors", different == allowed, f"{len(same)} of {len(before)}")
        ours, theirs = output(model, architecture), output(original, architecture)
        apart = (ours - theirs).abs().max().item() / theirs.abs().max().item()
        limit = 2e-4 if different else 0.0
        check(f"{name}, {way}: the same output", apart <= limit, f"{apart:.1e}")


def of_lavis(program: str, golden: Path, stage: str, work: Path):
    """LAVIS's recorded run with EVA becomes a folder of `transformers`."""
    weights, io = golden / f"{stage}_eva_weights.safetensors", golden / f"{stage}_eva_io.safetensors"
    if not weights.exists():
        return
    sizes = json.loads((golden / "config.json").read_text())
    with safe_open(weights, "pt") as file:
        shape = {key: file.get_slice(key).get_shape() for key in file.keys()}
    vit, qformer = sizes["vit"], dict(sizes["qformer"])
    width = shape["ln_vision.weight"][0]
    qformer |= {"encoder_hidden_size": width}
    vision = {
        "hidden_size": width,
        "num_hidden_layers": vit["layers"],
        "num_attention_heads": vit["heads"],
        "intermediate_size": shape["visual_encoder.blocks.0.mlp.fc1.weight"][0],
        "image_size": sizes["image_size"],
        "patch_size": sizes["patch_size"],
        "layer_norm_eps": vit["eva"]["layer_norm_eps"],
    }
    common = {"num_query_tokens": shape["query_tokens"][1], "image_text_hidden_size": sizes["embed_dim"]}
    if stage == "stage1":
        architecture, text = "Blip2ForImageTextRetrieval", hf.OPTConfig()
        qformer |= {"vocab_size": shape["Qformer.bert.embeddings.word_embeddings.weight"][0], "use_qformer_text_input": True}
    else:
        architecture = "Blip2ForConditionalGeneration"
        given = {key: value for key, value in sizes[stage].items() if not isinstance(value, str) or "act" in key or "proj" in key}
        if stage == "opt":
            rows = shape["opt_model.model.decoder.embed_tokens.weight"][0]
            text = hf.OPTConfig(vocab_size=rows, word_embed_proj_dim=given["hidden_size"], dropout=0.0, **given)
        else:
            text = hf.T5Config(vocab_size=shape["t5_model.shared.weight"][0], dropout_rate=0.0, **given)
    config = hf.Blip2Config(
        vision_config=vision,
        qformer_config=qformer | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        text_config=text.to_dict(),
        architectures=[architecture],
        **common,
    )
    like, out = work / f"{stage}.like", work / f"{stage}.out"
    config.save_pretrained(like)
    convert(program, weights, out, "--to", "hf", "--like", like)
    model, complaints = load(architecture, out)
    check(f"LAVIS {stage}: no key missing or unexpected", not complaints, str(complaints or ""))
    model.vision_model.post_layernorm.eps = sizes["ln_vision_eps"]
    recorded = load_file(io)
    with torch.no_grad():
        vision_output = model.vision_model(recorded["image"]).last_hidden_state
        if stage == "stage1":
            apart = (vision_output - recorded["image_embeds"]).abs().max().item() / recorded["image_embeds"].abs().max().item()
            check("LAVIS stage1: the same features", apart <= 2e-4, f"{apart:.1e}")
            return
        queries = model.query_tokens.expand(len(vision_output), -1, -1)
        states = model.qformer(query_embeds=queries, encoder_hidden_states=vision_output).last_hidden_state
        prompt = model.language_projection(states)
        language_model = model.language_model
        embed = language_model.get_input_embeddings()
        seen = torch.ones(prompt.shape[:2], dtype=torch.long)
        if stage == "opt":
            ids, mask = recorded["input_ids"], recorded["attention_mask"]
            labels = torch.cat([torch.full_like(seen, -100), ids.masked_fill(mask == 0, -100)], 1)
            loss = language_model(
                inputs_embeds=torch.cat([prompt, embed(ids)], 1), attention_mask=torch.cat([seen, mask], 1), labels=labels
            ).loss
        else:
            ids, mask = recorded["prefix_ids"], recorded["prefix_mask"]
            loss = language_model(
                inputs_embeds=torch.cat([prompt, embed(ids)], 1),
                attention_mask=torch.cat([seen, mask], 1),
                decoder_attention_mask=recorded["suffix_mask"],
                labels=recorded["suffix_ids"].masked_fill(recorded["suffix_mask"] == 0, -100),
            ).loss
    apart = abs(loss.item() - recorded["loss"].item()) / recorded["loss"].item()
    check(f"LAVIS {stage}: the same loss", apart <= 1e-5, f"{loss.item():.6f}, {apart:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built `blip2`")
    parser.add_argument("golden", type=Path, help="a golden folder")
    arguments = parser.parse_args()
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as work:
        for file in sorted(arguments.golden.rglob("config.json")):
            architecture = (json.loads(file.read_text()).get("architectures") or [""])[0]
            if architecture.startswith(("Blip2For", "InstructBlipFor")):
                there_and_back(arguments.program, file.parent, architecture, Path(work))
        for stage in ["stage1", "opt", "t5"]:
            of_lavis(arguments.program, arguments.golden / "lavis", stage, Path(work))
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
