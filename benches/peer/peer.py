"""The peer of `cargo xtask bench`: answers the same requests as the program `blip2-bench`, with PyTorch.

Each line of standard input is a request, each line of output its answer, both JSON: {"open": WORK} builds a workload of
workloads.toml and runs it once, {"run": N} runs it N times.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback

import device
import process

# The module of each kind of work; its function `build` takes the sizes and returns what is to be run.
MODULES = {
    "machine": "machine",
    "op": "ops",
    "stage1": "stage1",
    "stage2": "stage2",
    "qformer": "qformer",
    "retrieval": "retrieval",
    "encode": "encode",
    "generate": "generate",
    "caption_folder": "caption_folder",
    "serve": "serve",
    "decode": "decode",
    "load": "load",
    "pixels": "pixels",
    "loader": "loader",
}


class Session:
    """The workload that is open."""

    def __init__(self):
        self.run = None

    def answer(self, request):
        if "open" in request:
            work = dict(request["open"])
            self.run = None
            gc.collect()
            process.forget_peak()
            opened = importlib.import_module(MODULES[work.pop("kind")]).build(**work)
            if isinstance(opened, dict):
                return opened
            self.run = opened
            self.run()
            device.finish()
            return {}
        start = time.perf_counter()
        for _ in range(request["run"]):
            self.run()
        device.finish()
        return {"seconds": time.perf_counter() - start, "peak_bytes": process.peak_bytes()}


def main():
    # Libraries that print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session()
    for line in sys.stdin:
        try:
            answer = session.answer(json.loads(line))
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
