"""A picture file to the tensor of a training view: LAVIS's own pipeline, or torchvision's on tensors."""

import os
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode, v2

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CROP = {"size": 224, "scale": (0.5, 1.0), "interpolation": InterpolationMode.BICUBIC}


def training_view():
    """LAVIS's `blip2_image_train`."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(**CROP),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
        ]
    )


def build(tensors=False):
    content = Path(os.environ["BLIP2_HOME"], "peer/picture.jpg").read_bytes()
    if tensors:
        content = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        view = v2.Compose(
            [
                v2.RandomResizedCrop(**CROP, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, DEVIATION),
            ]
        )
        return lambda: view(decode_jpeg(content, ImageReadMode.RGB))
    view = training_view()
    return lambda: view(Image.open(BytesIO(content)).convert("RGB"))
