"""A training step of stage 1 on stored features: LAVIS's Blip2Qformer."""

import torch

import original
from captions import captions


def build(batch, image_tokens, image_width, text_tokens=None, dropout=0.0, precision="f32"):
    original.offline(image_width, dropout)
    from lavis.models.blip2_models.blip2_qformer import Blip2Qformer

    model = Blip2Qformer(max_txt_len=text_tokens or 32)
    model.train()
    samples = {
        "image": torch.randn(batch, image_tokens, image_width),
        "text_input": captions(batch, text_tokens),
    }
    return original.step(model, samples, precision)
