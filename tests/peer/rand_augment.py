"""Records what the image operations of LAVIS's RandAugment make of two small pictures: `augment/` of a golden folder.

    python3 -m venv peer && peer/bin/pip install opencv-python-headless==4.5.5.64 "numpy<2" torch safetensors
    peer/bin/python tests/peer/rand_augment.py LAVIS/processors/randaugment.py OUT [--seed 0]

`expected.safetensors` holds `<picture>` and `<picture>/<operation>/<level>/<sign>`, each `[height, width, 3]` bytes.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# Those of `blip_image_train`, and levels besides its own 5.
OPERATIONS = ["Identity", "AutoContrast", "Brightness", "Sharpness", "Equalize", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
LEVELS = [5, 9]
SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
LEVELLED = SIGNED | {"Brightness", "Sharpness"}


def pictures(random):
    """One that uses all of 0 to 255, and one that does not; both with edges and noise."""
    height, width = random.integers(13, 19, 2)
    rows, columns = np.mgrid[0:height, 0:width]
    ramp = np.stack([rows * 255 / (height - 1), columns * 255 / (width - 1), (rows + columns) % 7 * 42], axis=-1)
    full = ramp.astype(np.uint8)
    full[3:9, 4:10] = random.integers(0, 256, (6, 6, 3))
    height, width = random.integers(13, 19, 2)
    narrow = random.integers(30, 190, (height, width, 3)).astype(np.uint8)
    narrow[:, : width // 3] = [77, 120, 33]
    return {"full": full, "narrow": narrow}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lavis", type=Path, help="LAVIS's randaugment.py")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("randaugment", options.lavis)
    lavis = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lavis)

    tensors = {}
    for name, picture in pictures(np.random.default_rng(options.seed)).items():
        tensors[name] = picture
        for operation in OPERATIONS:
            for level in LEVELS if operation in LEVELLED else LEVELS[:1]:
                for sign in ["plus", "minus"] if operation in SIGNED else ["plus"]:
                    # The sign is drawn within: `> 0.5` turns it for shears and shifts, `< 0.5` for turns.
                    is_turned = (sign == "minus") == (operation != "Rotate")
                    lavis.np.random.random = lambda: 0.75 if is_turned else 0.25
                    arguments = lavis.arg_dict[operation](level)
                    made = lavis.func_dict[operation](picture, *arguments)
                    tensors[f"{name}/{operation}/{level}/{sign}"] = np.ascontiguousarray(made)
    folder = options.out / "augment"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "expected.safetensors")


if __name__ == "__main__":
    main()
