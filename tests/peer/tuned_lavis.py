"""LAVIS's own Q-Former, made as blip2_t5_instruct and blip2_vicuna_instruct make theirs, reads what `blip2 convert RUN X.pth --to lavis`
wrote of a run whose Q-Former reads texts: no name missing or unexpected, and the soft prompt of `blip2 trace`, or exit code 1.

    cargo xtask bench --setup
    BLIP2_HOME=HOME PYTHONPATH=HOME/peer/lavis HOME/peer/venv/bin/python tests/peer/tuned_lavis.py target/release/blip2 RUN PICTURE PROMPT

where HOME is the cache folder, in which the setup puts LAVIS 1.0.2 with the packages of its time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benches" / "peer"))

import original  # noqa: E402, F401  (lets LAVIS's packages be imported one by one)
from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel  # noqa: E402
from transformers import BertTokenizer  # noqa: E402

TOLERANCE = 1e-5

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program", type=Path)
parser.add_argument("run", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("prompt")
options = parser.parse_args()

with tempfile.TemporaryDirectory() as work:
    checkpoint, trace = Path(work) / "tuned.pth", Path(work) / "trace.safetensors"
    for command in [
        ["convert", options.run, checkpoint, "--to", "lavis"],
        ["trace", "--model", options.run, options.picture, "--prompt", options.prompt, "--out", trace],
    ]:
        subprocess.run([options.program.resolve(), *command], check=True, stdout=subprocess.DEVNULL)
    state = torch.load(checkpoint, weights_only=True)["model"]
    ours = load_file(trace)

settings = json.loads((options.run / "model" / "blip2.json").read_text())
sizes = settings["representation"]["qformer"]
tokenizer = BertTokenizer(settings["vocabulary"])
tokenizer.add_special_tokens({"bos_token": "[DEC]"})
renamed = {"encoder_hidden_size": "encoder_width", "cross_attention_frequency": "cross_attention_freq", "num_query_tokens": "query_length"}
config = BertConfig(hidden_act="gelu", add_cross_attention=True, **{renamed.get(key, key): value for key, value in sizes.items()})
qformer = BertLMHeadModel(config)
qformer.cls = None
qformer.eval()
own = {name.removeprefix("Qformer."): tensor for name, tensor in state.items() if name.startswith("Qformer.")}
missing, unexpected = qformer.load_state_dict(own, strict=False)
# A buffer of the library of that time.
missing = [name for name in missing if not name.endswith("position_ids")]
[projection] = [name.removesuffix(".weight") for name in state if name in ("opt_proj.weight", "t5_proj.weight", "llm_proj.weight")]

words = tokenizer(options.prompt, truncation=True, max_length=settings["max_text_tokens"], return_tensors="pt").input_ids
queries = state["query_tokens"]
with torch.no_grad():
    states = qformer.bert(
        words,
        attention_mask=torch.ones(1, queries.shape[1] + words.shape[1]),
        query_embeds=queries,
        encoder_hidden_states=ours["vision"],
        encoder_attention_mask=torch.ones(ours["vision"].shape[:2]),
        return_dict=True,
    ).last_hidden_state[:, : queries.shape[1]]
    soft_prompt = torch.nn.functional.linear(states, state[f"{projection}.weight"], state[f"{projection}.bias"])
far = ((ours["projected"] - soft_prompt).abs().max() / soft_prompt.abs().max()).item()
print(f"{len(own)} tensors of the Q-Former, missing {missing}, unexpected {unexpected}; soft prompts ({projection}) {far:.1e} apart")
sys.exit(bool(missing or unexpected or far > TOLERANCE))
