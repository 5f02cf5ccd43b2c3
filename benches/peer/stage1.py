"""A training step of stage 1: on stored features LAVIS's Blip2Qformer, behind an encoder the same of transformers' parts."""

import torch

from captions import captions


def build(batch, image_tokens=None, image_width=None, encoder=None, text_tokens=None, dropout=0.0, precision="f32"):
    if encoder is not None:
        import encode
        import parts

        features = encode.features(encoder, batch, "bf16")
        width = features().shape[-1]
        return parts.step(parts.Stage1(width), lambda: features().float(), batch, precision)
    import original

    original.offline(image_width, dropout)
    from lavis.models.blip2_models.blip2_qformer import Blip2Qformer

    model = Blip2Qformer(max_txt_len=text_tokens or 32)
    model.train()
    samples = {
        "image": torch.randn(batch, image_tokens, image_width),
        "text_input": captions(batch, text_tokens),
    }
    return original.step(model, samples, precision)
