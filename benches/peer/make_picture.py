"""Makes the pictures that both sides read: JPEG files with structure at every scale, as photographs have. One of 640x480 pixels,
and a folder of several sizes."""

import os
from pathlib import Path

import numpy
from PIL import Image

HOME = Path(os.environ["BLIP2_HOME"]) / "peer"
SIZES = [(640, 480), (480, 640), (500, 375), (1024, 683)]
COUNT = 16


def make(file, width, height, seed):
    if file.exists():
        return
    generator = numpy.random.default_rng(seed)
    pixels = numpy.zeros((height, width, 3))
    for scale in (1, 2, 4, 8, 16, 32, 64, 128):
        rows, columns = -(-height // scale), -(-width // scale)
        noise = generator.normal(size=(rows, columns, 3)).repeat(scale, 0).repeat(scale, 1)
        # Amplitudes grow with the scale, as in natural pictures.
        pixels += noise[:height, :width] * scale**0.7
    pixels = 128 + 50 * pixels / pixels.std()
    partial = HOME / "picture.partial"
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(partial, "JPEG", quality=90)
    partial.rename(file)


def main():
    make(HOME / "picture.jpg", *SIZES[0], seed=1)
    (HOME / "pictures").mkdir(exist_ok=True)
    for number in range(COUNT):
        make(HOME / f"pictures/{number:02}.jpg", *SIZES[number % len(SIZES)], seed=number)


if __name__ == "__main__":
    main()
