"""Where the peer computes: on the processor, or on the GPU that `BLIP2_PEER_DEVICE` names as PyTorch does (`cuda`)."""

import os

import torch

DEVICE = torch.device(os.environ.get("BLIP2_PEER_DEVICE") or "cpu")
IS_GPU = DEVICE.type != "cpu"
if IS_GPU:
    torch.set_default_device(DEVICE)


def finish():
    """Waits for what a GPU was given to do."""
    if IS_GPU:
        torch.cuda.synchronize(DEVICE)
