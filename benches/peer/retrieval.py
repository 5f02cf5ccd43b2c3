"""Retrieval in two stages on given features: LAVIS's compute_sim_matrix, which reads each image anew for each of its texts."""

import types

import torch

import original
from captions import captions


class Gallery:
    """Stands for the loader of a data set of images and texts."""

    def __init__(self, features, texts):
        self.dataset = types.SimpleNamespace(text=texts, image=list(range(len(features))))
        self.features = features

    def __iter__(self):
        return iter({"image": features} for features in self.features.split(8))


def build(images, texts, k, image_tokens, image_width):
    original.offline(image_width, dropout=0.0)
    from lavis.models.blip2_models.blip2 import compute_sim_matrix
    from lavis.models.blip2_models.blip2_qformer import Blip2Qformer

    model = Blip2Qformer().eval()
    gallery = Gallery(torch.randn(images, image_tokens, image_width), captions(texts))

    @torch.inference_mode()
    def run():
        _, to_image = compute_sim_matrix(model, gallery, k_test=k)
        if to_image.shape != (texts, images):
            raise RuntimeError(f"scores of {to_image.shape}")

    return run
