"""Compares a whole folder of many gigabytes in bf16: ours and `transformers`, both against the same weights in f32.

    pip install torch==2.9.0 transformers==5.23.0
    cargo build --release -p blip2-cli
    python tests/peer/full_size.py target/release/blip2 FOLDER PICTURE

FOLDER may be the one of random weights that `cargo xtask bench --setup` makes (`benches/peer/make_opt_2_7b.py`). `blip2 trace`
says what flows through our model; `transformers` gets the same pixels. In f32 no second copy of the weights is kept: each layer
is widened while it computes, which loses nothing. Passed is a stage that is no further from f32 than `transformers` in bf16 is,
and of the next token the same choice wherever the f32 logits decide it by more than bf16's own error. The peak memory of
`blip2 trace` is printed with it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers as hf
from safetensors.torch import load_file

STAGES = ["vision", "qformer", "projected", "logits"]


def ours(program: str, folder: Path, picture: Path, dtype: str) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "trace.safetensors"
        command = [program, "trace", "--model", folder, "--device", "flex", "--dtype", dtype, picture, "--out", out]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(f"blip2 trace --dtype {dtype}: peak memory {peak / 1e9:.2f} GB")
        return {name: value.float() for name, value in load_file(out).items()}


def widen_layers(model):
    """Has every part that owns numbers compute in f32, and be bf16 again afterwards."""

    def floats(values):
        return tuple(
            value.float() if torch.is_tensor(value) and value.is_floating_point() else value for value in values
        )

    def before(part, given, named):
        for value in part.parameters(recurse=False):
            value.data = value.data.float()
        return floats(given), dict(zip(named, floats(named.values())))

    def after(part, given, output):
        for value in part.parameters(recurse=False):
            value.data = value.data.bfloat16()

    # Pixels take the number format that the patches' weights have outside of the layer.
    model.vision_model.embeddings.float()
    for part in set(model.modules()) - set(model.vision_model.embeddings.modules()):
        if next(part.parameters(recurse=False), None) is not None:
            part.register_forward_pre_hook(before, with_kwargs=True)
            part.register_forward_hook(after)


@torch.inference_mode()
def stages(model, pixels: torch.Tensor, prompt: torch.Tensor, dtype: torch.dtype) -> dict:
    queries = model.query_tokens.to(dtype)
    vision = model.vision_model(pixels.to(dtype)).last_hidden_state
    qformer = model.qformer(query_embeds=queries, encoder_hidden_states=vision).last_hidden_state
    projected = model.language_projection(qformer)
    words = model.get_input_embeddings()(prompt).to(dtype)
    logits = model.language_model(inputs_embeds=torch.cat([projected.to(dtype), words], dim=1)).logits
    found = {"vision": vision, "qformer": qformer, "projected": projected, "logits": logits}
    return {name: value.float() for name, value in found.items()}


def distance(actual: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    """Root mean square and largest difference, as parts of the root mean square and the largest of what is exact."""
    difference = actual - exact
    mean = difference.square().mean().sqrt() / exact.square().mean().sqrt()
    return mean.item(), (difference.abs().max() / exact.abs().max()).item()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", help="path of the program `blip2`")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("picture", type=Path)
    chosen = arguments.parse_args()
    hf.logging.disable_progress_bar()

    mine = ours(chosen.program, chosen.folder, chosen.picture, "bf16")
    model = hf.Blip2ForConditionalGeneration.from_pretrained(chosen.folder, dtype=torch.bfloat16).eval()
    if model.config.text_config.model_type != "opt":
        sys.exit("only folders with OPT are compared here")
    tokenizer = hf.AutoTokenizer.from_pretrained(chosen.folder)
    prompt = tokenizer("", return_tensors="pt").input_ids
    pixels = mine["pixel_values"]
    theirs = stages(model, pixels, prompt, torch.bfloat16)
    widen_layers(model)
    exact = stages(model, pixels, prompt, torch.float32)

    failed = []
    print("stage       ours: mean, largest    transformers: mean, largest   (parts of the f32 values)")
    for name in STAGES:
        if mine[name].shape != exact[name].shape:
            sys.exit(f"{name}: {tuple(mine[name].shape)} here, {tuple(exact[name].shape)} there")
        (our_mean, our_largest), (mean, largest) = (distance(of[name], exact[name]) for of in (mine, theirs))
        passed = our_mean <= mean and our_largest <= 1.5 * largest
        print(f"{'ok  ' if passed else 'FAIL'} {name:10} {our_mean:.2e} {our_largest:.2e}      {mean:.2e} {largest:.2e}")
        failed += [] if passed else [name]

    exact_next, our_next, their_next = (of["logits"][0, -1] for of in (exact, mine, theirs))
    first, second = exact_next.topk(2).values.tolist()
    error = (their_next - exact_next).abs().max().item()
    print(f"next token: f32 {exact_next.argmax()}, ours {our_next.argmax()}, transformers {their_next.argmax()}; "
          f"the first two are {first - second:.3f} apart in f32, bf16's largest error {error:.3f}, "
          f"ours {(our_next - exact_next).abs().max():.3f}")
    if first - second > error and our_next.argmax() != exact_next.argmax():
        failed.append("next token")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
