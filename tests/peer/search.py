"""Compares the searches of `blip2 caption` with those of `transformers`: beams, when they end, how many are returned, drawn beams.

    pip install torch==2.9.0 transformers==5.23.0
    cargo build --release --workspace --bin blip2
    python tests/peer/search.py target/release/blip2 tests/golden

For each whole model with a language model under the golden folder, the ids that its captions hold most often are made to end a
text. Beam search must then return the same texts with the same scores under every `early_stopping` and length penalty; of
beams whose continuations are drawn, where random numbers differ, each frequent text must come as often.
"""

import argparse
import collections
import json
import os
import subprocess
import tempfile
from pathlib import Path

import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file

DRAWS = 2000


def ours(program, folder, picture, *options):
    command = [program, "caption", "--model", str(folder), *map(str, picture), "--json", *map(str, options)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def ended(ids, ends):
    """`ids` up to the first that ends a text."""
    return next((ids[: place + 1] for place, token in enumerate(ids) if token in ends), ids)


def with_ends(golden, folder, ends):
    """The golden folder again, with other ids that end a text."""
    for file in golden.iterdir():
        if file.name != "generation_config.json":
            (folder / file.name).exists() or os.symlink(file.resolve(), folder / file.name)
    config = json.loads((golden / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": ends}))


def compare(program, golden, folder):
    wrong = 0
    model = hf.Blip2ForConditionalGeneration.from_pretrained(golden).eval()
    processor = hf.AutoProcessor.from_pretrained(golden)
    expected = load_file(golden / "expected.safetensors")
    pictures = sorted(golden.glob("image*.png"))
    common = collections.Counter(token for line in ours(program, golden, pictures) for token in line["ids"])
    ends = [token for token, _ in common.most_common(3)]
    with_ends(golden, folder, ends)

    def generate(number, rows=1, **options):
        given = processor(images=Image.open(pictures[number]).convert("RGB"), text="", return_tensors="pt")
        # As the reference's processor made them, whichever of its two is installed.
        given["pixel_values"] = expected[f"{number}.pixel_values"]
        given = {name: value.repeat(rows, *[1] * (value.dim() - 1)) for name, value in given.items()}
        start = 1 if model.config.text_config.is_encoder_decoder else given["input_ids"].shape[1]
        with torch.no_grad():
            out = model.generate(
                **given, eos_token_id=ends, output_scores=True, return_dict_in_generate=True, **options
            )
        return [ended(row[start:], ends) for row in out.sequences.tolist()], out.sequences_scores.tolist()

    for early_stopping in [False, True, "never"]:
        for penalty in [2.0, 1.0, 0.0, -1.0]:
            for beams in [2, 4]:
                for number, picture in enumerate(pictures):
                    texts, scores = generate(
                        number, num_beams=beams, num_return_sequences=beams, early_stopping=early_stopping,
                        length_penalty=penalty, max_new_tokens=9, do_sample=False,
                    )  # fmt: skip
                    options = ["--num-beams", beams, "--num-captions", beams, "--length-penalty", penalty]
                    options += ["--early-stopping", str(early_stopping).lower(), "--max-new-tokens", 9]
                    lines = ours(program, folder, [picture], *options)
                    near = all(abs(line["score"] - score) <= 2e-6 * abs(score) for line, score in zip(lines, scores))
                    if [line["ids"] for line in lines] != texts or not near:
                        wrong += 1
                        print("FAIL", golden.name, picture.name, early_stopping, penalty, beams, lines, texts, scores)
    print(golden.name, "beams end alike" if wrong == 0 else "beams differ")

    drawn = dict(num_beams=3, do_sample=True, top_k=5, temperature=0.7, max_new_tokens=3, early_stopping=False)
    theirs = collections.Counter()
    for seed in range(DRAWS // 100):
        torch.manual_seed(seed)
        theirs.update(map(tuple, generate(0, rows=100, length_penalty=1.0, **drawn)[0]))
    # Prompts would change the text, seeds do not: one run a seed, of few.
    runs = DRAWS // 10
    options = ["--num-beams", 3, "--sample", "--top-k", 5, "--temperature", 0.7, "--max-new-tokens", 3]
    options += ["--length-penalty", 1, "--early-stopping", "false", "--seed"]
    mine = collections.Counter(
        tuple(ours(program, folder, pictures[:1], *options, seed)[0]["ids"]) for seed in range(runs)
    )
    for text in set(theirs) | set(mine):
        share = theirs[text] / DRAWS
        deviation = (max(share, 1 / DRAWS) * (1 - share) * (1 / DRAWS + 1 / runs)) ** 0.5
        if abs(mine[text] / runs - share) > 4.5 * deviation:
            wrong += 1
            print("FAIL", golden.name, text, "drawn", mine[text] / runs, "instead of", share)
    print(golden.name, len(theirs), "texts drawn by transformers,", len(mine), "by ours")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("golden", type=Path)
    given = parser.parse_args()
    wrong = 0
    for config in sorted(given.golden.rglob("config.json")):
        if "Blip2ForConditionalGeneration" in json.loads(config.read_text()).get("architectures", []):
            with tempfile.TemporaryDirectory() as folder:
                wrong += compare(given.program, config.parent, Path(folder))
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
