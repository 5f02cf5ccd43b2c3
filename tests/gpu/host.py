"""How long the host takes for the rows of benches/workloads-cuda.toml, where the GPU takes no time: with a stand-in for NVIDIA's driver
and libraries that does nothing (stand_in.c), so that no GPU is needed.

    python3 host.py BLIP2_BENCH [ROW ...]

BLIP2_BENCH is a `blip2-bench` that `cargo xtask cuda` built. Takes a C compiler and, for libdevice, a CUDA toolkit or Triton; rows named
`generate` also the peer's files (`cargo xtask bench --setup`). Prints a line a row: milliseconds a pass, and what the GPU was given in it,
kernels and products of cuBLASLt.

Burn's threads wait for each other by asking again and again. Where there are fewer than four processors, the threads that give work to the
GPU are put ahead of those that wait for them, which takes root.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5


def libraries(scratch):
    """The stand-in, by the names that the program looks for."""
    compiled = scratch / "libcuda.so"
    source = Path(__file__).with_name("stand_in.c")
    # The program opens and closes the libraries to see whether they are there: what answers must stay.
    words = ["cc", "-O2", "-w", "-shared", "-fPIC", "-pthread", "-Wl,-z,nodelete", "-o", compiled, source]
    subprocess.run(words, check=True)
    for name in ("libcublasLt.so", "libnvrtc.so"):
        (scratch / name).hardlink_to(compiled)
    return scratch


def toolkit(scratch):
    """A folder with libdevice in it."""
    known = Path(os.environ.get("CUDA_PATH", "/usr/local/cuda"))
    if (known / "nvvm/libdevice").is_dir():
        return known
    import triton

    [file, *_] = Path(triton.__path__[0]).glob("**/libdevice.10.bc")
    (scratch / "nvvm/libdevice").mkdir(parents=True)
    (scratch / "nvvm/libdevice/libdevice.10.bc").symlink_to(file)
    return scratch


class Program:
    def __init__(self, program, scratch):
        # The stand-in reads what is asked for at the first of two neighbouring numbers, and answers at the second.
        asked, self.ask_counts = os.pipe()
        self.counts, said = os.pipe()
        os.dup2(asked, 100), os.dup2(said, 101)
        environment = os.environ | {
            "LD_LIBRARY_PATH": str(libraries(scratch)), "CUDA_PATH": str(toolkit(scratch)), "XDG_CACHE_HOME": str(scratch), "STAND_IN_PIPE": "100",
        }
        # Burn's measurements of the card itself fail on times that are all alike, which it says and goes on.
        self.process = subprocess.Popen(
            [program, "cuda"], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            pass_fds=(100, 101),
        )

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the program ended"}')
        if "error" in answer:
            sys.exit(answer["error"])
        return answer

    def given(self):
        """Kernels and products since this was last asked."""
        os.write(self.ask_counts, b"?")
        return [int(number) for number in os.read(self.counts, 64).split()]

    def put_ahead(self):
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("DSD"):
                os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(1))


def main():
    rows = {row["name"]: row["work"] for row in tomllib.loads((ROOT / "benches/workloads-cuda.toml").read_text())["workload"]}
    program, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(rows)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Program(program, Path(scratch))
        for name in names:
            bench.ask({"open": rows[name]})
            if os.cpu_count() < 4:
                bench.put_ahead()
            bench.ask({"run": 1})
            bench.given()
            seconds = bench.ask({"run": RUNS})["seconds"]
            kernels, products = bench.given()
            print(f"{name:20} {1000 * seconds / RUNS:7.1f} ms {kernels // RUNS:6} kernels {products // RUNS:6} products", flush=True)
        bench.process.kill()


if __name__ == "__main__":
    main()
