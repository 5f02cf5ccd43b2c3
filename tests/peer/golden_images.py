"""Makes the `images` folder of a golden folder with Pillow: pictures of many kinds, decoded, resized and cropped.

    pip install pillow numpy safetensors
    python tests/peer/golden_images.py OUT --seed 3
    cargo xtask parity --golden OUT

Sizes, sharpness, quality, chroma subsampling and what else a format may choose are drawn by the seed.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


def scene(draw: random.Random, width: int, height: int) -> Image.Image:
    """Colours that change slowly, edges, and some noise."""
    numbers = np.random.default_rng(draw.randrange(1 << 32))
    coarse = numbers.integers(0, 256, (draw.randint(2, 9), draw.randint(2, 9), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC)).astype(np.int16)
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    edges = ((across * draw.randint(1, 5) + down * draw.randint(1, 5)) // draw.randint(4, 60) % 2) * draw.randint(0, 90)
    noise = numbers.normal(0, draw.choice([0, 2, 12]), (height, width, 3))
    return Image.fromarray(np.clip(smooth + edges[..., None] + noise, 0, 255).astype(np.uint8))


def size(draw: random.Random) -> tuple[int, int]:
    return draw.choice(
        [
            (draw.randint(1, 40), draw.randint(1, 40)),
            (draw.randint(40, 400), draw.randint(40, 400)),
            (16 * draw.randint(1, 20), 16 * draw.randint(1, 20)),
            (draw.randint(300, 900), draw.randint(8, 40)),
        ]
    )


def jpeg(draw: random.Random, path: Path):
    options = {
        "quality": draw.choice([20, 50, 75, 90, 97, 100]),
        "progressive": draw.random() < 0.4,
        "optimize": draw.random() < 0.3,
        "restart_marker_blocks": draw.choice([0, 0, 1, 5]),
    }
    mode = draw.choice(["RGB"] * 6 + ["L", "CMYK"])
    if mode == "RGB":
        options["subsampling"] = draw.choice([0, 1, 2, 2])
    picture = scene(draw, *size(draw)).convert(mode)
    if draw.random() < 0.2:
        exif = Image.Exif()
        exif[0x0112] = draw.randint(2, 8)
        options["exif"] = exif
    picture.save(path, **options)


def png(draw: random.Random, path: Path):
    picture, mode = scene(draw, *size(draw)), draw.choice(MODES)
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        picture = Image.fromarray(grey)
    elif mode.endswith("A"):
        opacity = scene(draw, *picture.size).convert("L")
        picture = picture.convert(mode)
        picture.putalpha(opacity)
    else:
        picture = picture.convert(mode)
    picture.save(path)


def webp(draw: random.Random, path: Path):
    picture = scene(draw, *size(draw))
    if draw.random() < 0.3:
        picture.putalpha(scene(draw, *picture.size).convert("L"))
    picture.save(path, lossless=draw.random() < 0.4, quality=draw.choice([30, 75, 95]))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path, help="the golden folder to make")
    arguments.add_argument("--seed", type=int, default=3)
    arguments.add_argument("--count", type=int, default=60, help="pictures to make")
    chosen = arguments.parse_args()
    draw, folder = random.Random(chosen.seed), chosen.out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    files, cases, expected = [], [], {}
    for index in range(chosen.count):
        make = draw.choice([jpeg, jpeg, jpeg, png, webp])
        name = f"{make.__name__}{index}.{'jpg' if make is jpeg else make.__name__}"
        make(draw, folder / name)
        decoded = Image.open(folder / name).convert("RGB")
        side = draw.randint(20, 260)
        resized = decoded.resize((side, side), Image.BICUBIC)
        files.append(name)
        expected |= {f"{name}.decoded": np.asarray(decoded), f"{name}.resized{side}": np.asarray(resized)}
        other = draw.randint(200, 400)
        total = np.asarray(decoded.resize((other, other), Image.BICUBIC)).astype(np.int64).sum()
        cases.append({"file": name, "size": other, "sum": int(total)})
        width, height = decoded.size
        if min(width, height) > 4:
            left, top = draw.randrange(width - 2), draw.randrange(height - 2)
            right, bottom = draw.randint(left + 1, width), draw.randint(top + 1, height)
            crop = decoded.crop((left, top, right, bottom)).resize((side, side), Image.BICUBIC)
            flip = draw.random() < 0.5
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else crop
            cases.append({"file": name, "crop": [left, top, right, bottom], "flip": flip, "key": f"{name}.crop"})
            expected[f"{name}.crop"] = np.asarray(crop)
    save_file({key: np.ascontiguousarray(value) for key, value in expected.items()}, folder / "expected.safetensors")
    (folder / "cases.json").write_text(json.dumps({"files": files, "cases": cases}, indent=1))


if __name__ == "__main__":
    main()
