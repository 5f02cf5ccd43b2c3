"""Compares a built `blip2` on a device with what transformers recorded in tests/golden, and its training with that on the processor.

    python3 check.py BLIP2 DEVICE

A line a comparison: `ok|FAIL NAME LARGEST-DIFFERENCE TOLERANCE`, last `N passed, N failed`. Needs NumPy alone. `cargo xtask parity`
compares far more; this takes no compiler.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
# Of the largest recorded number.
TENSORS, NUMBERS, LOSSES = 1e-3, 1e-3, 1e-3


def read(file):
    """The tensors of a safetensors file."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = numpy.frombuffer(data[start + begin : start + end], TYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def write(file, tensors):
    """Writes tensors in single precision."""
    header, parts, at = {}, [], 0
    for name, values in tensors.items():
        parts.append(numpy.ascontiguousarray(values, "<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    head = json.dumps(header).encode()
    file.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(parts))


class Checks:
    """The program on the device, and what was compared so far."""

    def __init__(self, program, device, scratch):
        self.program, self.device, self.scratch = program, device, scratch
        self.passed = self.failed = 0
        # Each check starts the program, which takes longer than what it computes here.
        self.pool = ThreadPoolExecutor(max(1, os.cpu_count() // 2))
        self.attempts, self.lock = [], Lock()

    def compare(self, name, found, expected, tolerance):
        found, expected = (numpy.asarray(values, numpy.float64) for values in (found, expected))
        if found.shape == expected.shape:
            size = max(1.0, abs(expected).max())
            difference = abs(found - expected).max() / size
        else:
            difference = float("inf")
        self.tell(difference <= tolerance, f"{name} {difference:.1e} {tolerance:.0e}")

    def tell(self, good, line):
        with self.lock:
            self.passed += 1 if good else 0
            self.failed += 0 if good else 1
            print("ok  " if good else "FAIL", line, flush=True)

    def run(self, *words, home=None, device=None):
        words = [str(self.program), *map(str, words), "--device", device or self.device]
        environment = os.environ | {"BLIP2_HOME": str(home or self.scratch)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def records(self, *words):
        return [json.loads(line) for line in self.run(*words, "--json").splitlines()]

    def attempt(self, name, check, *arguments):
        """Has `check` run beside others."""
        self.attempts.append((name, self.pool.submit(check, self, *arguments)))

    def finish(self):
        """Waits for all attempts, and tells which of them broke off."""
        for name, attempt in self.attempts:
            if error := attempt.exception():
                self.tell(False, f"{name}: {error}")


def stages(checks, folder):
    """What flows through the model, stage by stage."""
    expected = read(folder / "expected.safetensors")
    for number, image in enumerate(sorted(folder.glob("image*.png"))):
        checks.attempt(f"{folder.name}/{number}", stages_of, folder, expected, number, image)


def stages_of(checks, folder, expected, number, image):
    out = checks.scratch / f"{folder.name}-{number}.safetensors"
    checks.run("trace", "--model", folder, image, "--out", out, "--dtype", "f32")
    for name, found in read(out).items():
        recorded = expected.get(f"{number}.{name}")
        if recorded is not None and name != "logits":
            checks.compare(f"{folder.name}/{number}.{name}", found, recorded, TENSORS)


def texts(checks, folder):
    """Every text that was recorded, token by token."""
    alone = json.loads((folder / "config.json").read_text())["use_decoder_only_language_model"]
    for number, case in enumerate(json.loads((folder / "cases.json").read_text())["generate"]):
        checks.attempt(f"{folder.name}/text {number}", text, folder, alone, number, case)


def text(checks, folder, alone, number, case):
    given = len(case["input_ids"]) if alone else 1
    options = []
    for name, value in case["params"].items():
        # Lengths of transformers count what the output begins with.
        value = max(0, value - given) if name == "min_length" else value
        options += [] if name == "do_sample" else [f"--{name.replace('_', '-')}={value}"]
    [record] = checks.records(
        "caption", "--model", folder, folder / case["image"], f"--prompt={case['prompt']}", "--dtype", "f32", *options
    )
    checks.compare(f"{folder.name}/text {number}", record["ids"], case["ids"][given:], 0.0)


def pairs(checks, folder):
    """How well texts belong to pictures."""
    for number, case in enumerate(json.loads((folder / "cases.json").read_text())["pairs"]):
        checks.attempt(f"{folder.name}/pair {number}", pair, folder, number, case)


def pair(checks, folder, number, case):
    [record] = checks.records("match", "--model", folder, folder / case["image"], f"--text={case['text']}", "--dtype", "f32")
    for name in ("itm_probability", "itc"):
        found, recorded = (numpy.ravel(values[name]).max() for values in (record, case))
        checks.compare(f"{folder.name}/pair {number} {name}", found, recorded, NUMBERS)


def home(folder):
    """The frozen models that tiny.toml names, and its pictures."""
    shutil.copytree(GOLDEN / "parts/dinov2", folder / "encoder")
    shutil.copytree(GOLDEN / "parts/llama", folder / "language-model")
    processor = {
        "crop_size": {"height": 28, "width": 28}, "do_center_crop": True, "size": {"shortest_edge": 28},
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3,
    }
    (folder / "encoder/preprocessor_config.json").write_text(json.dumps(processor))
    words = json.loads((folder / "language-model/config.json").read_text())["vocab_size"]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {f"w{word}": word for word in range(words)}, "unk_token": "w0"},
    }
    (folder / "language-model/tokenizer.json").write_text(json.dumps(tokenizer))
    vocabulary = (GOLDEN / "lavis/bert-vocab.txt").read_text()
    (folder / "bert-vocab.txt").write_text(vocabulary)
    entries = len(vocabulary.splitlines())
    bert = read(GOLDEN / "parts/bert/model.safetensors")
    rows = len(bert["bert.embeddings.word_embeddings.weight"])
    longer = lambda values: values[numpy.arange(entries) % rows] if len(values) == rows else values
    write(folder / "bert.safetensors", {name: longer(values.astype("f4")) for name, values in bert.items()})
    # Words of the language model, which BERT takes for unknown ones or letters.
    lines = []
    for number, image in enumerate(sorted((GOLDEN / "hf").glob("*/image*.png"))):
        shutil.copy(image, folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "text": f"w{number} w{2 * number + 20} w{number + 7}"}))
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")


def training(checks):
    """The losses of both stages, a step at a time."""
    home_folder = checks.scratch / "home"
    home_folder.mkdir()
    home(home_folder)
    runs = {}
    for device in ("flex", checks.device):
        run = checks.scratch / f"run-{device}{len(runs)}"
        data = f"data.0.path={home_folder / 'pictures.jsonl'}"
        checks.run("pretrain", "--recipe", HERE / "tiny.toml", "--run", run, "--set", data, home=home_folder, device=device)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        runs[run] = [line for line in lines if "loss" in line]
    processor, device = runs.values()
    for stage in ("stage1", "stage2"):
        losses = [[line["loss"] for line in lines if line["phase"] == stage] for lines in (processor, device)]
        checks.compare(f"training/{stage}, {len(losses[0])} steps", losses[1], losses[0], LOSSES)


def main():
    program, device = Path(sys.argv[1]).resolve(), sys.argv[2]
    with tempfile.TemporaryDirectory() as scratch:
        checks = Checks(program, device, Path(scratch))
        checks.attempt("training", training)
        for name in ("opt-tiny", "flant5-tiny"):
            stages(checks, GOLDEN / "hf" / name)
            texts(checks, GOLDEN / "hf" / name)
        pairs(checks, GOLDEN / "hf/itm-tiny")
        checks.finish()
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed or not checks.passed else 0)


if __name__ == "__main__":
    main()
