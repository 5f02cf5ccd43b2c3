"""Makes the picture that both sides read: a JPEG of 640x480 pixels with structure at every scale, as photographs have."""

import os
from pathlib import Path

import numpy
from PIL import Image

WIDTH, HEIGHT = 640, 480
PICTURE = Path(os.environ["BLIP2_HOME"]) / "peer/picture.jpg"


def main():
    if PICTURE.exists():
        return
    generator = numpy.random.default_rng(1)
    pixels = numpy.zeros((HEIGHT, WIDTH, 3))
    for scale in (1, 2, 4, 8, 16, 32, 64, 128):
        rows, columns = -(-HEIGHT // scale), -(-WIDTH // scale)
        noise = generator.normal(size=(rows, columns, 3)).repeat(scale, 0).repeat(scale, 1)
        # Amplitudes grow with the scale, as in natural pictures.
        pixels += noise[:HEIGHT, :WIDTH] * scale**0.7
    pixels = 128 + 50 * pixels / pixels.std()
    partial = PICTURE.with_suffix(".partial")
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(partial, "JPEG", quality=90)
    partial.rename(PICTURE)


if __name__ == "__main__":
    main()
