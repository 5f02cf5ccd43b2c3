"""Types of weights by the name that both sides are told."""

import torch


def dtype(precision):
    """PyTorch has no product of 8-bit or 4-bit weights for these models on a processor: there the peer runs in bf16."""
    return torch.float32 if precision == "f32" else torch.bfloat16
