"""Makes the `pictures` folder of a golden folder with Pillow: small pictures of every kind that people have, and what Pillow
makes of each, as it lies in the file and turned upright.

    pip install pillow numpy          (and, for what Pillow does not write, the tools of libjpeg-turbo, libtiff and libavif)
    python tests/peer/golden_pictures.py OUT --seed 3 [--sizes 3]
    cargo xtask parity --golden OUT

`cases.json` lists by kind and file the size and a hash of the RGB bytes (twice where turning changes them), or nothing
where Pillow refuses the file.
"""

import argparse
import hashlib
import io
import itertools
import json
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import golden_avif
from golden_images import scene

SIZES = [(1, 1), (2, 5), (3, 4), (9, 17), (33, 18), (37, 2), (1, 19), (16, 16), (64, 47)]
SAMPLINGS = ["1x1", "2x1", "1x2", "2x2", "4x1", "4x2", "1x4", "3x1", "2x1,1x2,1x1", "2x2,2x1,1x2", "1x1,2x2,2x2", "1x1,1x2,1x1"]


def tool(arguments: list[str], content: bytes) -> bytes:
    return subprocess.run(arguments, input=content, capture_output=True, check=True).stdout


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def cjpeg(picture: Image.Image, *options: str) -> bytes:
    return tool(["cjpeg", *options], saved(picture.convert("RGB"), "PPM"))


def noted(code: int) -> bytes:
    """An EXIF block that holds an orientation alone."""
    exif = Image.Exif()
    exif[0x0112] = code
    return exif.tobytes()


def packet(code: int) -> bytes:
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % code


# JPEG


def jpeg_samplings(draw, sizes):
    for sampling, size in itertools.product(SAMPLINGS, sizes):
        factors = sampling if "," in sampling else sampling + ",1x1,1x1"
        way = draw.choice([[], [], ["-progressive"], ["-restart", "1B"], ["-arithmetic"]])
        quality = str(draw.choice([30, 75, 95]))
        name = f"{sampling.replace(',', '-')}-{size[0]}x{size[1]}{''.join(way)}.jpg"
        yield name, cjpeg(scene(draw, *size), "-quality", quality, "-sample", factors, *way)


def jpeg_narrow(draw, sizes):
    for factors, (width, height) in itertools.product(["2x1", "1x2", "2x2"], [(1, 20), (2, 20), (3, 20), (20, 1), (20, 2), (4, 9), (5, 3)]):
        yield f"{factors}-{width}x{height}.jpg", cjpeg(scene(draw, width, height), "-sample", factors + ",1x1,1x1")


def segments(content: bytes) -> list[bytes]:
    """The marker segments in front of the first scan, and everything from there."""
    found, place = [], 2
    while content[place + 1] != 0xDA:
        length = 2 + struct.unpack_from(">H", content, place + 2)[0]
        found.append(content[place : place + length])
        place += length
    return [*found, content[place:]]


def with_colour(content: bytes, ids: bytes, jfif: bool, adobe: int | None, inner=lambda frame: frame) -> bytes:
    """The same picture with other channel names and other markers."""
    *head, scan = segments(content)
    names, kept = {}, []
    for segment in head:
        if segment[1] in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
            frame = bytearray(segment)
            for channel in range(frame[9]):
                names[frame[10 + 3 * channel]] = ids[channel]
                frame[10 + 3 * channel] = ids[channel]
            segment = inner(bytes(frame))
        if segment[1] not in (0xE0, 0xEE):
            kept.append(segment)
    scan, place = bytearray(scan), 0
    while (place := scan.find(b"\xff\xda", place)) >= 0:
        for channel in range(scan[place + 4]):
            scan[place + 5 + 2 * channel] = names[scan[place + 5 + 2 * channel]]
        place += 2
    front = [b"\xff\xd8"]
    if jfif:
        front.append(bytes.fromhex("ffe000104a46494600010100000100010000"))
    if adobe is not None:
        front.append(bytes.fromhex("ffee000e41646f626500640000000000") [:15] + bytes([adobe]))
    return b"".join([*front, *kept, bytes(scan)])


def jpeg_colour_space(draw, sizes):
    base = cjpeg(scene(draw, 19, 11), "-sample", "2x1,1x1,1x1")
    for ids, jfif, adobe in itertools.product([b"\1\2\3", b"RGB", b"rgb", b"\0\1\2", b"abc"], [True, False], [None, 0, 1, 2]):
        yield f"{ids.hex()}-{'jfif' if jfif else 'bare'}-{adobe}.jpg", with_colour(base, ids, jfif, adobe)
    for subsampling, adobe, progressive in itertools.product([0, 2], [None, 0, 1, 2], [False, True]):
        inks = saved(scene(draw, 17, 9).convert("CMYK"), "JPEG", subsampling=subsampling, progressive=progressive, quality=90)
        yield f"inks-{subsampling}-{adobe}-{progressive}.jpg", with_colour(inks, b"\1\2\3\4", False, adobe)
    yield "grey.jpg", cjpeg(scene(draw, 17, 9), "-grayscale")
    yield "grey-2x2.jpg", cjpeg(scene(draw, 17, 9), "-grayscale", "-sample", "2x2")
    yield "rgb.jpg", cjpeg(scene(draw, 17, 9), "-rgb")


def jpeg_scans(draw, sizes):
    scripts = {
        "each-channel": "0;\n1;\n2;\n",
        "no-last-scans": "0 1 2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n",
        "first-scan-alone": "0 1 2: 0-0, 0, 0;\n",
    }
    for (name, script), size in itertools.product(scripts.items(), sizes):
        path = Path("scans.partial")
        path.write_text(script)
        yield f"{name}-{size[0]}x{size[1]}.jpg", cjpeg(scene(draw, *size), "-scans", str(path))
        path.unlink()
    for options in (["-progressive", "-arithmetic"], ["-optimize", "-restart", "1"], ["-dct", "float"]):
        yield f"{''.join(options)[1:]}.jpg", cjpeg(scene(draw, 40, 30), *options)


def jpeg_damaged(draw, sizes):
    for way in ([], ["-progressive"], ["-restart", "1B"]):
        whole, name = cjpeg(scene(draw, 40, 30), *way), "".join(way) or "-plain"
        scan = whole.index(b"\xff\xda") + 14
        for step in (0.3, 0.8):
            cut = int(scan + step * (len(whole) - scan))
            yield f"cut-{step}{name}.jpg", whole[:cut]
            yield f"early-end-{step}{name}.jpg", whole[:cut] + b"\xff\xd9"
        yield f"no-end{name}.jpg", whole[:-2]
        yield f"tail{name}.jpg", whole + b"and more"
        yield f"front{name}.jpg", b"\0\0" + whole
        yield f"head-alone{name}.jpg", whole[: scan - 30]
        yield f"filled{name}.jpg", whole[:2] + b"\xff\xff" + whole[2:]
    whole = cjpeg(scene(draw, 40, 30))
    two = with_colour(whole, b"\1\2\3", True, None, lambda frame: frame[:9] + b"\2" + frame[10:])
    yield "two-channels.jpg", two
    yield "twelve-bits.jpg", with_colour(whole, b"\1\2\3", True, None, lambda frame: frame[:4] + b"\x0c" + frame[5:])
    yield "no-rows.jpg", with_colour(whole, b"\1\2\3", True, None, lambda frame: frame[:5] + b"\0\0" + frame[7:])


def jpeg_orientation(draw, sizes):
    for code in range(10):
        yield f"exif{code}.jpg", saved(scene(draw, 19, 8), "JPEG", exif=noted(code))
        yield f"xmp{code}.jpg", saved(scene(draw, 19, 8), "JPEG", xmp=packet(code))
    yield "exif-before-xmp.jpg", saved(scene(draw, 19, 8), "JPEG", exif=noted(6), xmp=packet(3))


# PNG


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png(draw, size, colour, depth, interlaced=False, front=(), behind=(), data=lambda raw: raw, cut=None, end=True) -> bytes:
    """A PNG of random samples, by hand: Pillow writes few of the kinds that it reads."""
    (width, height), channels = size, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0:
            for _ in range(rows):
                raw += bytes([draw.choice([0, 1, 2, 3, 4])]) + draw.randbytes((columns * channels * depth + 7) // 8)
    body = data(zlib.compress(raw))
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)),
        *([chunk(b"PLTE", draw.randbytes(3 << min(depth, 8)))] if colour == 3 else []),
        *front,
        chunk(b"IDAT", body[: len(body) // 2]),
        chunk(b"IDAT", body[len(body) // 2 :]),
        *behind,
        *([chunk(b"IEND", b"")] if end else []),
    ]
    return b"".join(parts)[:cut]


DEPTHS = {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}


def png_modes(draw, sizes):
    for colour, depths in DEPTHS.items():
        for depth, interlaced in itertools.product(depths, [False, True]):
            for size in [(7, 5), draw.choice(sizes)]:
                name = f"colour{colour}-{depth}{'-interlaced' if interlaced else ''}-{size[0]}x{size[1]}.png"
                yield name, png(draw, size, colour, depth, interlaced)


def png_transparency(draw, sizes):
    for colour, depth in [(0, depth) for depth in DEPTHS[0]] + [(2, 8), (2, 16)]:
        clear = chunk(b"tRNS", draw.randbytes(1) * (2 if colour == 0 else 6))
        for interlaced in (False, True):
            yield f"colour{colour}-{depth}-{interlaced}.png", png(draw, (9, 6), colour, depth, interlaced, [clear])
    for depth in DEPTHS[3]:
        yield f"palette-{depth}.png", png(draw, (9, 6), 3, depth, False, [chunk(b"tRNS", draw.randbytes(1 << min(depth, 3)))])
    low = chunk(b"tRNS", b"\0\7")
    yield "grey16-low.png", png(draw, (9, 6), 0, 16, False, [low], data=lambda _: zlib.compress(b"".join(b"\0" + bytes(18) for _ in range(6))))


def png_orientation(draw, sizes):
    for code in range(10):
        block = noted(code).removeprefix(b"Exif\0\0")
        yield f"exif{code}.png", png(draw, (7, 4), 2, 8, front=[chunk(b"eXIf", block)])
        text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
        yield f"text{code}.png", png(draw, (7, 4), 2, 8, front=[chunk(b"tEXt", b"Raw profile type exif\0" + text)])
    packed = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text.replace(b"\x09", b"\x06")))
    yield "packed-text.png", png(draw, (7, 4), 2, 8, front=[packed])
    yield "xmp.png", png(draw, (7, 4), 2, 8, front=[chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet(6))])
    yield "behind.png", png(draw, (7, 4), 2, 8, behind=[chunk(b"eXIf", noted(8).removeprefix(b"Exif\0\0"))])


def png_damaged(draw, sizes):
    size = (30, 20)
    for interlaced in (False, True):
        mark = "-interlaced" if interlaced else ""
        yield f"no-end{mark}.png", png(draw, size, 2, 8, interlaced, end=False)
        yield f"tail{mark}.png", png(draw, size, 2, 8, interlaced) + b"and more"
        for cut in (20, 40, 300, -40):
            yield f"cut{cut}{mark}.png", png(draw, size, 2, 8, interlaced, cut=cut)
        yield f"cut-in-end{mark}.png", png(draw, size, 2, 8, interlaced, cut=-6)
    yield "no-last-checksum.png", png(draw, size, 2, 8, end=False, cut=-4)
    yield "short-data.png", png(draw, size, 2, 8, data=lambda raw: zlib.compress(zlib.decompress(raw)[:900]))
    yield "long-data.png", png(draw, size, 2, 8, data=lambda raw: zlib.compress(zlib.decompress(raw) + bytes(99)))
    yield "wrong-sum-of-data.png", png(draw, size, 2, 8, data=lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    yield "broken-data.png", png(draw, size, 2, 8, data=lambda raw: raw[:2] + b"\xff" * 40 + raw[42:])
    wrong = chunk(b"tEXt", b"a\0b", 5)
    yield "wrong-checksum-in-front.png", png(draw, size, 2, 8, front=[wrong])
    yield "wrong-checksum-behind.png", png(draw, size, 2, 8, behind=[wrong])
    whole = png(draw, size, 2, 8)
    yield "wrong-checksum-of-head.png", whole[:29] + b"\0" + whole[30:]
    place = whole.rindex(b"IDAT")
    yield "wrong-checksum-of-data.png", whole[: len(whole) - 14] + b"\0\0" + whole[len(whole) - 12 :]
    yield "no-data.png", whole[: whole.index(b"IDAT") - 4]
    yield "data-cut-before-second-chunk.png", whole[: place - 4]


# GIF


def packed(indices: bytes, bits: int) -> bytes:
    """LZW of single codes, cleared before codes grow longer."""
    clear, stream, held, count = 1 << bits, bytearray(), 0, 0
    codes = []
    for place in range(0, len(indices), clear - 2 if bits > 2 else 2):
        codes += [clear, *indices[place : place + (clear - 2 if bits > 2 else 2)]]
    for code in [*codes, clear + 1]:
        held |= code << count
        count += bits + 1
        while count >= 8:
            stream.append(held & 255)
            held, count = held >> 8, count - 8
    stream.append(held & 255)
    blocks = [stream[place : place + 255] for place in range(0, len(stream), 255)]
    return bytes([bits]) + b"".join(bytes([len(block)]) + bytes(block) for block in blocks) + b"\0"


def gif(draw, canvas, frame, bits=4, colours=True, own=False, clear=None, interlaced=False, ground=0, frames=1, cut=None) -> bytes:
    parts = [b"GIF89a", struct.pack("<HHBBB", *canvas, (0x80 | bits - 1) if colours else 0, ground, 0)]
    parts += [draw.randbytes(3 << bits)] if colours else []
    for _ in range(frames):
        if clear is not None:
            parts.append(b"!\xf9\4" + bytes([1]) + b"\5\0" + bytes([clear]) + b"\0")
        left, top, width, height = frame
        parts.append(b"," + struct.pack("<HHHHB", left, top, width, height, (0x80 | bits - 1 if own else 0) | interlaced << 6))
        parts += [draw.randbytes(3 << bits)] if own else []
        parts.append(packed(bytes(draw.randrange(1 << bits) for _ in range(width * height)), bits))
    return b"".join([*parts, b";"])[:cut]


def gif_frames(draw, sizes):
    whole = (0, 0, 11, 9)
    for bits in (2, 4, 8):
        yield f"bits{bits}.gif", gif(draw, (11, 9), whole, bits)
    yield "own-colours.gif", gif(draw, (11, 9), whole, own=True)
    yield "own-colours-alone.gif", gif(draw, (11, 9), whole, colours=False, own=True)
    for clear in (0, 5):
        yield f"clear{clear}.gif", gif(draw, (11, 9), whole, clear=clear)
        yield f"clear{clear}-small.gif", gif(draw, (11, 9), (2, 3, 5, 4), clear=clear)
    for own, ground in itertools.product([False, True], [0, 7]):
        yield f"small-{own}-{ground}.gif", gif(draw, (11, 9), (2, 3, 5, 4), own=own, ground=ground)
    yield "beyond.gif", gif(draw, (6, 5), (2, 3, 9, 8))
    yield "interlaced.gif", gif(draw, (11, 19), (0, 0, 11, 19), interlaced=True)
    yield "animated.gif", gif(draw, (11, 9), whole, frames=3)
    yield "no-trailer.gif", gif(draw, (11, 9), whole, cut=-1)
    yield "cut.gif", gif(draw, (30, 30), (0, 0, 30, 30), cut=300)
    yield "head-alone.gif", gif(draw, (11, 9), whole, cut=61)
    for size in sizes:
        yield f"pillow-{size[0]}x{size[1]}.gif", saved(scene(draw, *size), "GIF")
    others = [scene(draw, 20, 12) for _ in range(3)]
    yield "pillow-animated.gif", saved(others[0], "GIF", save_all=True, append_images=others[1:])


# BMP


def bmp(draw, size, bits, compression=0, masks=b"", upside_down=True, core=False, colours=None, data=None, head=40) -> bytes:
    (width, height), table = size, b""
    if bits <= 8:
        table = draw.randbytes((3 if core else 4) * (colours or 1 << bits))
    if data is None:
        data = draw.randbytes((width * bits + 31) // 32 * 4 * height)
    if core:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        signed = height if upside_down else -height
        header = struct.pack("<IiiHHIIiiII", head, width, signed, 1, bits, compression, len(data), 2835, 2835, colours or 0, 0)
        header += masks.ljust(head - 40, b"\0")
        header += masks if head == 40 else b""
    offset = 14 + len(header) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + table + data


def runs(draw, size, four: bool) -> bytes:
    """Run lengths of every sort: repeated, literal, end of line."""
    data = bytearray()
    for _ in range(size[1]):
        left = size[0]
        while left:
            count = min(left, draw.randint(1, 9))
            if count >= 3 and draw.random() < 0.5:
                body = draw.randbytes((count + 1) // 2 if four else count)
                data += bytes([0, count]) + body + bytes(len(body) % 2)
            else:
                data += bytes([count, draw.randrange(256)])
            left -= count
        data += b"\0\0"
    return bytes(data + b"\0\1")


def bmp_kinds(draw, sizes):
    for bits, size in itertools.product([1, 4, 8, 16, 24, 32], [(7, 5), (8, 3)]):
        yield f"bits{bits}-{size[0]}.bmp", bmp(draw, size, bits)
        yield f"bits{bits}-{size[0]}-top-down.bmp", bmp(draw, size, bits, upside_down=False)
    for bits in (1, 4, 8, 24):
        yield f"core{bits}.bmp", bmp(draw, (7, 5), bits, core=True)
    yield "few-colours.bmp", bmp(draw, (7, 5), 8, colours=256)
    for name, bits, masks in [
        ("565", 16, (0xF800, 0x7E0, 0x1F)),
        ("555", 16, (0x7C00, 0x3E0, 0x1F)),
        ("bgrx", 32, (0xFF0000, 0xFF00, 0xFF)),
        ("xbgr", 32, (0xFF000000, 0xFF0000, 0xFF00)),
    ]:
        packed_masks = struct.pack("<III", *masks)
        yield f"masks-{name}.bmp", bmp(draw, (7, 5), bits, 3, packed_masks)
    for head in (108, 124):
        masks = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
        yield f"head{head}.bmp", bmp(draw, (7, 5), 32, 3, masks, head=head)
        yield f"head{head}-24.bmp", bmp(draw, (7, 5), 24, head=head)
    for four in (False, True):
        yield f"runs{4 if four else 8}.bmp", bmp(draw, (23, 9), 4 if four else 8, 2 if four else 1, data=runs(draw, (23, 9), four))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"pillow-{mode}.bmp", saved(scene(draw, 13, 7).convert(mode), "BMP")
    whole = bmp(draw, (30, 20), 24)
    yield "cut.bmp", whole[:500]
    yield "head-alone.bmp", whole[:40]


# TIFF


def tiff_kinds(draw, sizes):
    for mode, compression in itertools.product(
        ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"], [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"]
    ):
        picture = scene(draw, 13, 7)
        if mode == "I;16":
            picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 3)
        elif mode in ("RGBA", "LA"):
            picture = picture.convert(mode)
            picture.putalpha(scene(draw, 13, 7).convert("L"))
        else:
            picture = picture.convert(mode)
        yield f"{mode.replace(';', '')}-{compression}.tif", saved(picture, "TIFF", compression=compression)
        if mode in ("L", "RGB", "RGBA", "I;16") and compression not in (None, "packbits"):
            yield f"{mode.replace(';', '')}-{compression}-predicted.tif", saved(
                picture, "TIFF", compression=compression, tiffinfo={317: 2}
            )
    yield "fax.tif", saved(scene(draw, 13, 7).convert("1"), "TIFF", compression="group4")
    for mode in ("F", "I"):
        yield f"{mode}.tif", saved(scene(draw, 9, 7).convert("L").convert(mode), "TIFF")
    for low, high in ((-300, 600), (0, 1)):
        spread = np.random.default_rng(draw.randrange(99)).uniform(low, high, (5, 7))
        yield f"F{high}.tif", saved(Image.fromarray(spread.astype(np.float32)), "TIFF")
        yield f"I{high}.tif", saved(Image.fromarray(spread.astype(np.int32)), "TIFF")
    for code in range(10):
        yield f"orientation{code}.tif", saved(scene(draw, 19, 8), "TIFF", tiffinfo={0x0112: code})
    base = Path("page.partial.tif")
    for mode in ("L", "RGB", "P"):
        base.write_bytes(saved(scene(draw, 35, 19).convert(mode), "TIFF"))
        for name, options in {
            "tiles": ["-t", "-w", "16", "-l", "16"],
            "tiles-lzw": ["-t", "-w", "32", "-l", "16", "-c", "lzw:2"],
            "big-endian": ["-B"],
            "planes": ["-p", "separate"],
            "strips": ["-r", "5", "-c", "zip"],
            "big": ["-8"],
        }.items():
            out = Path("out.partial.tif")
            if subprocess.run(["tiffcp", *options, base, out], capture_output=True).returncode == 0:
                yield f"{name}-{mode}.tif", out.read_bytes()
            out.unlink(missing_ok=True)
    base.unlink()
    words = np.random.default_rng(draw.randrange(99)).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    yield "rgb16.tif", tiff_of_words(words)
    whole = saved(scene(draw, 40, 30), "TIFF", compression="tiff_lzw")
    yield "cut.tif", whole[: len(whole) // 2]
    others = [scene(draw, 9, 6) for _ in range(2)]
    yield "pages.tif", saved(others[0], "TIFF", save_all=True, append_images=others[1:])


def tiff_of_words(words: np.ndarray) -> bytes:
    height, width, channels = words.shape
    body = words.astype("<u2").tobytes()
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, 8 + len(body)),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(body)),
    ]
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body) + len(bits)) + body + bits + table


# WebP


def webp_kinds(draw, sizes):
    for size, lossless, clear in itertools.product(sizes, [True, False], [False, True]):
        picture = scene(draw, *size)
        if clear:
            picture.putalpha(scene(draw, *size).convert("L"))
        name = f"{'exact' if lossless else 'lossy'}{'-clear' if clear else ''}-{size[0]}x{size[1]}.webp"
        yield name, saved(picture, "WEBP", lossless=lossless, quality=draw.choice([20, 75, 95]), exact=True)
    for code in range(10):
        yield f"exif{code}.webp", saved(scene(draw, 19, 8), "WEBP", lossless=True, exif=noted(code))
    yield "xmp.webp", saved(scene(draw, 19, 8), "WEBP", lossless=True, xmp=packet(6))
    others = [scene(draw, 20, 12) for _ in range(3)]
    for lossless in (True, False):
        yield f"animated-{lossless}.webp", saved(others[0], "WEBP", save_all=True, append_images=others[1:], lossless=lossless)
    whole = saved(scene(draw, 40, 30), "WEBP", lossless=True)
    yield "cut.webp", whole[: len(whole) // 2]


# AVIF


def avif_orientation(draw, sizes):
    for code in range(10):
        yield f"exif{code}.avif", saved(scene(draw, 19, 8), "AVIF", exif=noted(code))
        yield f"xmp{code}.avif", saved(scene(draw, 19, 8), "AVIF", xmp=packet(code))
    yield "exif-before-xmp.avif", saved(scene(draw, 19, 8), "AVIF", exif=noted(6), xmp=packet(3))
    exif = Image.Exif()
    exif[0x010E] = "of something else"
    yield "xmp-beside-exif.avif", saved(scene(draw, 19, 8), "AVIF", exif=exif, xmp=packet(3))


def no_pictures(draw, sizes):
    yield "empty.png", b""
    yield "page.jpg", b"<html>not found</html>"
    yield "png-named.jpg", saved(scene(draw, 9, 7), "PNG")
    yield "text.txt", b"GIF is a word"


KINDS = [
    jpeg_samplings,
    jpeg_narrow,
    jpeg_colour_space,
    jpeg_scans,
    jpeg_damaged,
    jpeg_orientation,
    png_modes,
    png_transparency,
    png_orientation,
    png_damaged,
    gif_frames,
    bmp_kinds,
    tiff_kinds,
    webp_kinds,
    *golden_avif.KINDS,
    avif_orientation,
    no_pictures,
]


def seen(picture: Image.Image) -> str:
    rgb = np.asarray(picture.convert("RGB"))
    return f"{rgb.shape[1]}x{rgb.shape[0]} {hashlib.sha256(rgb.tobytes()).hexdigest()[:16]}"


def expected(path: Path) -> list[str]:
    """What Pillow makes of the file as it lies and turned upright, nothing where it refuses it."""
    try:
        stored = seen(Image.open(path))
    except Exception:
        return []
    upright = seen(ImageOps.exif_transpose(Image.open(path)))
    return [stored] if stored == upright else [stored, upright]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path, help="the golden folder to make")
    arguments.add_argument("--seed", type=int, default=3)
    arguments.add_argument("--sizes", type=int, default=3, help="sizes of pictures for each kind")
    chosen = arguments.parse_args()
    cases = {}
    for make in KINDS:
        kind = make.__name__.replace("_", "-")
        draw, folder = random.Random(f"{chosen.seed} {kind}"), chosen.out / "pictures" / kind
        folder.mkdir(parents=True, exist_ok=True)
        cases[kind] = {}
        for name, content in make(draw, draw.sample(SIZES, min(chosen.sizes, len(SIZES)))):
            (folder / name).write_bytes(content)
            cases[kind][name] = expected(folder / name)
    lines = [f'"{kind}": {{\n' + ",\n".join(f"{json.dumps(name)}: {json.dumps(seen)}" for name, seen in files.items()) + "}" for kind, files in cases.items()]
    (chosen.out / "pictures/cases.json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
