"""Small AVIFs of every kind, for `golden_pictures.py`. More than 8 bits, grids and grain need libavif's `avifenc`."""

import io
import itertools
import random
import struct
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from golden_images import scene

SUBSAMPLINGS = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"]
OPACITIES = ["", "clear", "multiplied"]


def painted(draw: random.Random, size, opacity: str) -> Image.Image:
    picture = scene(draw, *size)
    if opacity:
        picture.putalpha(scene(draw, *size).convert("L"))
    return picture


def avif(draw: random.Random, size, opacity: str = "", **options) -> bytes:
    stream = io.BytesIO()
    options = {"speed": 9, "quality": draw.choice([30, 75, 95]), "alpha_premultiplied": opacity == "multiplied", **options}
    painted(draw, size, opacity).save(stream, "AVIF", **options)
    return stream.getvalue()


def avifenc(draw: random.Random, size, *options: str, opacity: str = "", count: int = 1) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.png" for index in range(count)]
        for path in paths:
            painted(draw, size, opacity).save(path)
        out = Path(folder) / "out.avif"
        options = [*options, *(["-p"] if opacity == "multiplied" else [])]
        subprocess.run(["avifenc", "-s", "9", "--max", "40", *options, *paths, out], check=True, capture_output=True)
        return out.read_bytes()


def named(*parts) -> str:
    return "-".join(str(part).replace(":", "") for part in parts if part != "") + ".avif"


def avif_samplings(draw, sizes):
    for subsampling, size, opacity in itertools.product(SUBSAMPLINGS, sizes, OPACITIES):
        name = named(subsampling, f"{size[0]}x{size[1]}", opacity)
        yield name, avif(draw, size, opacity, subsampling=subsampling, range=draw.choice(["full", "limited"]))


def avif_narrow(draw, sizes):
    for subsampling, size in itertools.product(["4:2:0", "4:2:2"], [(1, 6), (2, 5), (3, 4), (4, 3), (5, 2), (6, 1), (2, 2)]):
        yield named(subsampling, f"{size[0]}x{size[1]}"), avif(draw, size, subsampling=subsampling, range="limited")


def recoloured(content: bytes, primaries: int, matrix: int, is_full: bool) -> bytes:
    """The same samples with another meaning."""
    place = content.index(b"colrnclx") + 8
    return content[:place] + struct.pack(">HHHB", primaries, 13, matrix, is_full << 7) + content[place + 7 :]


def avif_colour(draw, sizes):
    meanings = [(1, matrix) for matrix in range(15)] + [(primaries, 12) for primaries in (2, 5, 6, 9)]
    for (primaries, matrix), is_full in itertools.product(meanings, [True, False]):
        subsampling, opacity = draw.choice(SUBSAMPLINGS), draw.choice(OPACITIES)
        content = avif(draw, (13, 7), opacity, subsampling=subsampling)
        yield (
            named(primaries, matrix, "full" if is_full else "limited", subsampling, opacity),
            recoloured(content, primaries, matrix, is_full),
        )
    for subsampling, is_full in itertools.product(SUBSAMPLINGS, [True, False]):
        content = avif(draw, (13, 7), subsampling=subsampling, range="full" if is_full else "limited")
        name = named("unsaid", "full" if is_full else "limited", subsampling)
        yield name, content.replace(b"colrnclx", b"freenclx")


def avif_depths(draw, sizes):
    for depth, subsampling, opacity in itertools.product(["10", "12"], SUBSAMPLINGS, OPACITIES):
        code, reach = draw.choice(["1/13/1", "1/13/6", "9/13/9", "1/13/4"]), draw.choice(["full", "limited"])
        options = ["-d", depth, "-y", subsampling.replace(":", ""), "-r", reach, "--cicp", code]
        yield named(depth, subsampling, code.replace("/", "."), reach, opacity), avifenc(draw, (13, 7), *options, opacity=opacity)
    for depth, reach in itertools.product(["8", "10", "12"], ["full", "limited"]):
        yield named(depth, "rgb", reach), avifenc(draw, (13, 7), "-d", depth, "-r", reach, "--cicp", "1/13/0")
    for depth in ("8", "10"):
        yield named(depth, "grain"), avifenc(draw, (40, 24), "-d", depth, "-y", "420", "-a", "film-grain-test=5")


def avif_grids(draw, sizes):
    for (columns, rows), subsampling in itertools.product([(2, 1), (1, 2), (2, 2)], ["400", "420", "444"]):
        opacity = draw.choice(["", "clear", "multiplied"])
        options = ["-g", f"{columns}x{rows}", "-y", subsampling, "--max", "63", "--min", "50", "--maxalpha", "63", "--minalpha", "50"]
        content = avifenc(draw, (64, 66), *options, opacity=opacity, count=columns * rows)
        yield named(f"{columns}x{rows}", subsampling, opacity), content


def avif_sequences(draw, sizes):
    for subsampling, opacity in itertools.product(SUBSAMPLINGS, OPACITIES):
        others = [painted(draw, (20, 12), opacity) for _ in range(2)]
        options = {"subsampling": subsampling, "save_all": True, "append_images": others}
        yield named(subsampling, opacity), avif(draw, (20, 12), opacity, **options)
    turned = avifenc(draw, (20, 12), "--irot", "1", "--imir", "1", count=2)
    yield "turned.avif", turned
    for brand in ("avif", "mif1", "msf1"):
        yield f"named-{brand}.avif", turned[:8] + brand.encode() + turned[12:]
    yield "cut.avif", turned[: turned.index(b"mdat") + 100]


def avif_damaged(draw, sizes):
    whole = avif(draw, (40, 30), quality=95)
    data = whole.index(b"mdat") + 4
    for step in (0, 0.3, 0.8):
        yield f"cut-{step}.avif", whole[: int(data + step * (len(whole) - data))]
    for place in (20, 60, 150, 250):
        yield f"cut-at-{place}.avif", whole[:place]
    yield "tail.avif", whole + b"and more"
    for brand in (b"mif1", b"msf1"):
        yield f"named-{brand.decode()}.avif", whole[:8] + brand + whole[12:]
    yield "another-codec.avif", whole.replace(b"avif", b"heic")
    yield "another-item.avif", whole.replace(b"infe\2\0\0\0\0\1\0\0av01", b"infe\2\0\0\0\0\1\0\0hvc1")
    size = whole.index(b"ispe") + 8
    yield "huge.avif", whole[:size] + struct.pack(">II", 60000, 60000) + whole[size + 8 :]
    yield "no-size.avif", whole.replace(b"ispe", b"ispx")
    yield "no-data.avif", whole[:data] + bytes(len(whole) - data)
    yield "no-picture.avif", whole.replace(b"pitm", b"free")
    place = whole.index(b"iloc") + 4
    yield "nowhere.avif", whole[: place + 14] + b"\x7f\xff\xff\xff" + whole[place + 18 :]


KINDS = [avif_samplings, avif_narrow, avif_colour, avif_depths, avif_grids, avif_sequences, avif_damaged]
