"""Fine-tunes small BLIP-2s with an encoder that learns and low-rank updates, converts them, and compares what `transformers` with PEFT
writes (tuned_folder.py) with what `blip2` writes: the same ids, or exit code 1. With captions alone, the folder is a BLIP-2; where the
Q-Former learned to read the question, or all of the prompt, an InstructBLIP, whose soft prompts are compared, too.

    pip install torch==2.9.0 transformers==5.23.0 peft==0.21.0
    python tests/peer/tuned_run.py target/release/blip2 [--model tests/golden/hf/opt-tiny]...
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers as hf
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
TARGETS = {"opt": ["q_proj", "fc2"], "t5": ["q", "wo"]}
PROMPT = "a photo of"
QUESTIONS = ["what is on the beach", "how many dogs are there"]
READS = ["nothing", "question", "prompt"]
# Tokens that each text has at least: such small models like to end at once.
LEAST = 6
# Of the largest number of a soft prompt.
TOLERANCE = 1e-5
WORDS = 30523


def stage1(config: dict, folder: Path):
    """A model of the first stage, as `transformers` writes it: where the text branch comes from. Its numbers are large, so that a text
    tells in what the queries become."""
    qformer = config["qformer_config"] | {"vocab_size": WORDS, "use_qformer_text_input": True, "initializer_range": 0.3}
    torch.manual_seed(5)
    made = hf.Blip2Config(
        vision_config=config["vision_config"],
        qformer_config=qformer,
        num_query_tokens=config["num_query_tokens"],
        image_text_hidden_size=16,
    )
    model = hf.Blip2ForImageTextRetrieval(made)
    for name, tensor in model.named_parameters():
        if name.startswith(("qformer.", "embeddings.")) and tensor.dim() > 1:
            torch.nn.init.normal_(tensor, std=0.3)
    model.save_pretrained(folder)


def entry(index: int, reads: str) -> dict:
    """A picture of the golden model with a caption, or a question and its answer."""
    common = {"image": f"image{index % 3}.png"}
    if reads == "nothing":
        captions = ["a red circle", "a blue square", "two dogs", "a cat on a mat"]
        return common | {"image_id": f"image{index % 3}", "caption": captions[index % 4]}
    return common | {"question_id": index, "question": QUESTIONS[index % 2] + "?", "answer": ["dog", "dog", "two"]}


def recipe(model: Path, folder: Path, reads: str) -> str:
    """Three steps on the pictures of the golden model, larger than the positions were learned for."""
    config = json.loads((model / "config.json").read_text())
    vision, qformer = config["vision_config"], config["qformer_config"]
    (folder / "list.json").write_text(json.dumps([entry(index, reads) for index in range(8)]))
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
        "vocab_size": WORDS,
    }
    represented = "\n".join(f"{key} = {value}" for key, value in sizes.items())
    side = vision["image_size"] + 2 * vision["patch_size"]
    targets = TARGETS[config["text_config"]["model_type"]]
    texts = ""
    if reads != "nothing":
        stage1(config, folder / "stage1")
        texts = f'reads = "{reads}"\ntext_from = "{folder / "stage1"}"'
    return f"""
seed = 42
vocabulary = "{GOLDEN / 'lavis/bert-vocab.txt'}"
max_text_tokens = 32
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
vision_layer_norm_eps = {vision["layer_norm_eps"]}

[representation.qformer]
{represented}

[bridge]
projection = "kept"

[[data]]
name = "list"
format = "lavis"
path = "{folder / 'list.json'}"
images = "{model}"

[stage2]
from = "{model}"
{texts}
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


def last(command: list) -> dict:
    """The object in the last line of what a command says."""
    return json.loads(run(command).splitlines()[-1])


def soft_prompt(program: Path, folder: Path, picture: Path, prompt: str) -> torch.Tensor:
    """What the language model of the run sees of a picture, where both parts read `prompt`."""
    file = folder / "trace.safetensors"
    run([program, "trace", "--model", folder / "run", picture, "--prompt", prompt, "--out", file])
    return load_file(file)["projected"]


def compare(program: Path, model: Path, reads: str) -> int:
    """Says of each picture whether both write the same; how often not."""
    apart = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "recipe.toml").write_text(recipe(model, folder, reads))
        run([program, "finetune", "--recipe", folder / "recipe.toml", "--run", folder / "run"])
        run([program, "convert", folder / "run", folder / "out", "--to", "hf", "--like", model])
        settings = ["--json", "--num-beams", "1", "--max-new-tokens", "12", "--min-length", str(LEAST)]
        reader = [sys.executable, HERE / "tuned_folder.py", "--least", str(LEAST), folder / "out"]
        for number in range(3):
            picture = model / f"image{number}.png"
            texts = {"caption": [PROMPT]} | ({"ask": QUESTIONS} if reads != "nothing" else {})
            for command, text in [(command, text) for command, list in texts.items() for text in list]:
                given = ["--prompt", text, picture] if command == "caption" else [picture, text]
                ours = last([program, command, "--model", folder / "run", *settings, *given])["ids"]
                kind = "--prompt" if command == "caption" else "--question"
                theirs = last([*reader, picture, kind, text])
                same = ours == theirs["ids"]
                said = "the same ids" if same else f"{ours} here, {theirs['ids']} there"
                if reads != "nothing" and command == "caption":
                    here, there = soft_prompt(program, folder, picture, text), torch.tensor(theirs["projected"])
                    far = ((here - there).abs().max() / there.abs().max()).item()
                    same = same and far <= TOLERANCE
                    said += f", soft prompts {far:.1e} apart"
                apart += not same
                print(f"{model.name}, reads {reads}, {command} {picture.name} '{text}': {said} ({theirs['architecture']})", flush=True)
    return apart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--reads", choices=READS, action="append", help="what the Q-Former reads; without, each in its turn")
    options = parser.parse_args()
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    program = options.program.resolve()
    models = options.model or [GOLDEN / "hf" / name for name in ("opt-tiny", "flant5-tiny")]
    apart = sum(compare(program, model, reads) for model in map(Path.resolve, models) for reads in options.reads or READS)
    sys.exit(apart > 0)


if __name__ == "__main__":
    main()
