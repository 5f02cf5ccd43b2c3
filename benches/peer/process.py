"""The memory of this process, and of the GPU that it computes on."""

import torch

from device import DEVICE, IS_GPU


def peak_bytes():
    """The most memory that was taken since the start or since `forget_peak`: of a GPU, what is reserved there."""
    if IS_GPU:
        return torch.cuda.max_memory_reserved(DEVICE)
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("the memory of this process has no peak")


def forget_peak():
    """Lets the peak start anew from what is in use now."""
    if IS_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(DEVICE)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
