"""What this machine is, and what PyTorch's own libraries reach on it at best."""

import os
import time
from importlib.metadata import version
from pathlib import Path

import torch

from device import DEVICE, IS_GPU, finish


def fastest(run, seconds=1.0):
    """Seconds of the fastest run within so many seconds, after one that does not count."""
    def once():
        run()
        finish()

    once()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        once()
        best = min(best, time.perf_counter() - start)
    return best


def product(dtype):
    """Operations a second of a large matrix product."""
    side = 8192 if IS_GPU else 2048
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    return 2 * side**3 / fastest(lambda: a @ b)


def processor():
    """The processor with those of its vector units that decide the speed of matrix products."""
    facts = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, fact = line.partition(":")
        facts.setdefault(name.strip(), fact.strip())
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in facts["flags"].split()]
    return f"{facts['model name']}, family {facts['cpu family']} model {facts['model']} with {' '.join(units)}"


def memory_bytes():
    if IS_GPU:
        return torch.cuda.get_device_properties(DEVICE).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def build():
    numbers = torch.ones(256 * 1024 * 1024)
    read = numbers.numel() * numbers.element_size() / fastest(lambda: numbers.sum())
    return {
        "processor": torch.cuda.get_device_name(DEVICE) if IS_GPU else processor(),
        "cores": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "read_per_s": read,
        "f32_per_s": product(torch.float32),
        "bf16_per_s": product(torch.bfloat16),
        "versions": {name: version(name) for name in ("torch", "torchvision", "transformers")},
    }
