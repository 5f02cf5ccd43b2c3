"""Fine-tunes a small BLIP-2 with an encoder that learns and low-rank updates, converts it, and compares what `transformers` with PEFT
writes (tuned_folder.py) with what `blip2 caption` writes: the same ids, or exit code 1.

    pip install torch==2.9.0 transformers==5.23.0 peft==0.21.0
    python tests/peer/tuned_run.py target/release/blip2 [--model tests/golden/hf/opt-tiny]...
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
TARGETS = {"opt": ["q_proj", "fc2"], "t5": ["q", "wo"]}
PROMPT = "a photo of"


def recipe(model: Path, folder: Path) -> str:
    """Three steps on the pictures of the golden model, larger than the positions were learned for."""
    config = json.loads((model / "config.json").read_text())
    vision, qformer = config["vision_config"], config["qformer_config"]
    entries = [
        {"image": f"image{index % 3}.png", "image_id": f"image{index % 3}", "caption": caption}
        for index, caption in enumerate(["a red circle", "a blue square", "two dogs", "a cat on a mat"] * 2)
    ]
    (folder / "captions.json").write_text(json.dumps(entries))
    sizes = {
        "hidden_size": qformer["hidden_size"],
        "num_hidden_layers": qformer["num_hidden_layers"],
        "num_attention_heads": qformer["num_attention_heads"],
        "intermediate_size": qformer["intermediate_size"],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "cross_attention_frequency": qformer["cross_attention_frequency"],
        "encoder_hidden_size": vision["hidden_size"],
        "num_query_tokens": config["num_query_tokens"],
        "layer_norm_eps": qformer["layer_norm_eps"],
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "vocab_size": 30523,
    }
    represented = "\n".join(f"{key} = {value}" for key, value in sizes.items())
    side = vision["image_size"] + 2 * vision["patch_size"]
    targets = TARGETS[config["text_config"]["model_type"]]
    return f"""
seed = 42
vocabulary = "{GOLDEN / 'lavis/bert-vocab.txt'}"
max_text_tokens = 16
lora = {{ rank = 2, alpha = 4.0, targets = {json.dumps(targets)} }}

[encoder]
path = "{model}"
image_size = {side}
train = true

[language_model]
path = "{model}"
prompt = "{PROMPT}"
question_prompt = "Question: {{}} Answer:"

[representation]
embedding_size = 16
vision_layer_norm_eps = 1e-5

[representation.qformer]
{represented}

[bridge]
projection = "kept"

[[data]]
name = "captions"
format = "lavis"
path = "{folder / 'captions.json'}"
images = "{model}"

[stage2]
from = "{model}"
steps = 3
batch = 4
schedule = {{ peak = 1e-2, minimum = 0.0, warmup_steps = 1 }}
optimizer = {{ betas = [0.9, 0.999], weight_decay = 0.05 }}
pretrained_rate = 1.0
query_rate = 1.0
precision = "f32"
checkpoint_every = 3
log_every = 1
"""


def run(command: list) -> str:
    output = subprocess.run(command, capture_output=True, text=True)
    if output.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{output.stderr}")
    return output.stdout


def written(command: list) -> list:
    """The ids in the last line of what a command says."""
    return json.loads(run(command).splitlines()[-1])["ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--model", type=Path, action="append")
    options = parser.parse_args()
    program = options.program.resolve()
    models = options.model or [GOLDEN / "hf" / name for name in ("opt-tiny", "flant5-tiny")]
    apart = 0
    for model in map(Path.resolve, models):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "recipe.toml").write_text(recipe(model, folder))
            run([program, "finetune", "--recipe", folder / "recipe.toml", "--run", folder / "run"])
            run([program, "convert", folder / "run", folder / "out", "--to", "hf", "--like", model])
            for number in range(3):
                picture = model / f"image{number}.png"
                ours = written(
                    [program, "caption", "--model", folder / "run", "--json", "--num-beams", "1", "--max-new-tokens", "12"]
                    + ["--prompt", PROMPT, picture]
                )
                theirs = written([sys.executable, HERE / "tuned_folder.py", folder / "out", picture, "--prompt", PROMPT])
                same = ours == theirs
                apart += not same
                print(f"{model.name} {picture.name}: {'the same ids' if same else f'{ours} here, {theirs} there'}")
    sys.exit(apart > 0)


if __name__ == "__main__":
    main()
