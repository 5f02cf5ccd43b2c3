"""The frozen image encoders, as transformers has them, with random weights."""

import torch
from transformers import Blip2VisionConfig, Blip2VisionModel, CLIPVisionConfig, CLIPVisionModel

from dtypes import dtype

ARCHITECTURES = {
    # Of 24 blocks BLIP-2 uses 23.
    "clip_l": (
        CLIPVisionModel,
        CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=23,
            num_attention_heads=16,
            image_size=224,
            patch_size=14,
        ),
    ),
    "eva_g": (Blip2VisionModel, Blip2VisionConfig(initializer_range=0.02)),
}


def features(architecture, batch, precision="f32"):
    """What makes the features of a batch of random pixels, outside of autograd."""
    model, config = ARCHITECTURES[architecture]
    torch.set_default_dtype(dtype(precision))
    encoder = model(config).eval().requires_grad_(False)
    pixels = torch.randn(batch, 3, config.image_size, config.image_size)
    torch.set_default_dtype(torch.float32)

    @torch.no_grad()
    def run():
        return encoder(pixels).last_hidden_state

    return run


build = features
