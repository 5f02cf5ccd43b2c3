"""Makes `data/webdataset` and `data/damaged` of a golden folder, in small: shards as webdataset and tarfile write them, what
webdataset reads of them, and archives with one thing wrong each.

    pip install webdataset==1.0.2 pillow==13.0.0 numpy
    python tests/peer/golden_webdataset.py OUT --seed 5
    cargo xtask parity --golden OUT
"""

import argparse
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

PICTURES, TEXTS = ["jpg", "jpeg", "png", "webp"], ["txt", "caption", "text"]
CAPTIONS = ["a red square", "zwei Bäume, 緑の木 🌳", "cafe\u0301", "line\nbreak\n", "", "  blank around  ", '"quoted", it\'s', "tab\there"]


class Maker:
    def __init__(self, folder, seed):
        self.random, self.folder, self.cells = np.random.default_rng(seed), folder, {}

    def picture(self, kind):
        width, height = (int(side) for side in self.random.integers(8, 24, 2))
        coarse = self.random.integers(0, 256, (3, 3, 3)).astype(np.uint8)
        image, buffer = Image.fromarray(coarse).resize((width, height), Image.BICUBIC), io.BytesIO()
        image.save(buffer, {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}[kind], quality=80)
        return buffer.getvalue()

    def seen(self, encoded):
        """What Pillow decodes, and its mean colours for `pixels.json`."""
        with Image.open(io.BytesIO(encoded)) as image:
            kind, rgb = image.format, np.asarray(image.convert("RGB"))
        (height, width, _), sha256 = rgb.shape, hashlib.sha256(rgb.tobytes()).hexdigest()
        mean = lambda part: [round(float(value), 3) for value in part.reshape(-1, 3).mean(0)]
        cut = lambda length, cell: slice(cell * length // 4, (cell + 1) * length // 4)
        grid = [mean(rgb[cut(height, row), cut(width, column)]) for row in range(4) for column in range(4)]
        self.cells[sha256] = {"size": [width, height], "mean_rgb": mean(rgb), "grid4": grid}
        lossless = kind == "PNG"
        return {"size": [width, height], "rgb_sha256": sha256, "mean_rgb": mean(rgb), "lossless": lossless,
                "mean_tolerance": 0.0 if lossless else 1.5, "bytes_sha256": hashlib.sha256(encoded).hexdigest()}

    def sample(self, key, kind="jpg", text="txt", caption=None):
        caption = CAPTIONS[self.random.integers(len(CAPTIONS))] if caption is None else caption
        body = json.dumps({"caption": caption}) if text == "json" else caption
        return [(f"{key}.{kind}", self.picture(kind)), (f"{key}.{text}", body.encode())]

    def archives(self):
        """Members of each archive, and how it is written."""
        key = lambda number: f"{number:06}"
        plain = [self.sample(key(number), PICTURES[number % 4]) for number in range(6)]
        long = "folder/" * 14 + "k" * 60
        twice = self.sample("twice", "png")
        return {
            "basic-000000.tar": (sum(plain[:3], []), "ustar"),
            "basic-000001.tar": (sum(plain[3:], []), "ustar"),
            "packed.tar.gz": (sum([self.sample(f"z{number}") for number in range(3)], []), "ustar"),
            "names.tar": (sum([self.sample(name) for name in ["v1.2/in.a/one", "./two", "a b/ключ", "img.01", ".hidden", "__meta__/x", "dots..", "sub/.x"]], [])
                          + [("README", b"no extension"), ("notes.md", b"no picture")], "pax"),
            "texts.tar": (self.sample("a", text="caption") + self.sample("b", "webp", "json") + self.sample("c", text="text")
                          + [("d.jpg", self.picture("jpg")), ("d.json", json.dumps({"captions": ["one", "two"]}).encode())]
                          + [("e.txt", b"no picture"), ("f.png", self.picture("png"))], "ustar"),
            "duplicates.tar": (self.sample("once") + twice + twice + self.sample("once"), "ustar"),
            "long-ustar.tar": (sum([self.sample(long + str(number)) for number in range(2)], []), "ustar"),
            "long-gnu.tar": (sum([self.sample(long * 2 + str(number)) for number in range(2)], []), "gnu"),
            "long-pax.tar": (sum([self.sample(long * 2 + "щ" + str(number)) for number in range(2)], []), "pax"),
        }

    def groups(self, path):
        """webdataset's groups, and how often it complained."""
        problems = []
        note = lambda error: problems.append(type(error).__name__) or True
        steps = webdataset.DataPipeline(webdataset.SimpleShardList([str(path)]), webdataset.tarfile_to_samples(handler=note))
        return list(steps), problems

    def webdataset(self):
        folder, expected = self.folder / "webdataset", {}
        folder.mkdir(parents=True, exist_ok=True)
        for name, (members, form) in self.archives().items():
            write(folder / name, members, form)
            groups, problems = self.groups(folder / name)
            samples, skipped = [], []
            for group in groups:
                entry = {"key": group["__key__"]}
                picture = next((kind for kind in PICTURES if kind in group), None)
                text = next((kind for kind in TEXTS if kind in group), None)
                fields = json.loads(group["json"]) if "json" in group else {}
                if "captions" in fields:
                    entry["json_captions"] = fields["captions"]
                elif "caption" in fields:
                    entry["json_caption"] = fields["caption"]
                if picture is None or (text is None and not fields):
                    skipped.append(entry | {"reason": "no_picture" if picture is None else "no_text"})
                    continue
                entry["image"] = self.seen(group[picture])
                entry["caption"] = group[text].decode() if text else entry.get("json_captions", entry.get("json_caption"))
                samples.append(entry)
            expected[name] = {"samples": samples, "skipped": skipped, "webdataset_problems": problems}
        shards = ["basic-000000.tar", "basic-000001.tar"]
        keys = [sample["key"] for shard in shards for sample in expected[shard]["samples"]]
        braces = {"basic-{000000..000001}.tar": {"shards": shards, "keys": keys}}
        save(folder, {"archives": expected, "brace_expansion": braces})

    def damaged(self):
        folder = self.folder / "damaged"
        folder.mkdir(parents=True, exist_ok=True)
        members = sum([self.sample(f"{number:06}", "png" if number % 2 else "jpg", caption=f"text {number}") for number in range(4)], [])
        write(folder / "whole.tar", members, "ustar")
        whole = (folder / "whole.tar").read_bytes()
        at = lambda member: whole.index(members[member][0].encode())
        third, text = at(4), at(5)

        def header(place, start, value):
            changed = bytearray(whole)
            changed[place + start : place + start + len(value)] = value
            total = sum(changed[place : place + 148]) + 8 * 32 + sum(changed[place + 156 : place + 512])
            changed[place + 148 : place + 156] = b"%06o\0 " % total
            return bytes(changed)

        def with_member(number, body):
            buffer = io.BytesIO()
            write(buffer, [(name, body if place == number else own) for place, (name, own) in enumerate(members)], "ustar")
            return buffer.getvalue()

        all_keys = [f"{number:06}" for number in range(4)]
        but_third = [key for key in all_keys if key != "000002"]
        impossible = ["member_size_impossible"] * 2
        cases = {  # what it is, its bytes, what it yields, why the third is skipped, what is wrong with the archive, may report
            "cut-in-picture.tar": (whole[: third + 512 + 40], all_keys[:2], "archive_truncated", "archive_truncated", []),
            "cut-in-text.tar": (whole[: text + 512 + 3], all_keys[:2], "archive_truncated", "archive_truncated", []),
            "cut-in-header.tar": (whole[: text + 100], all_keys[:2], "archive_truncated", "archive_truncated", []),
            "cut-at-header.tar": (whole[:third], all_keys[:2], None, None, ["archive_no_end_marker"]),
            "bad-checksum.tar": (whole[: third + 148] + b"000000\0 " + whole[third + 156 :], all_keys[:2], None, "archive_header_invalid", []),
            "size-huge.tar": (header(third, 124, b"77777777777\0"), all_keys[:2], *impossible, []),
            "size-negative.tar": (header(third, 124, b"\xff" * 10 + b"\xfe\0"), all_keys[:2], *impossible, []),
            "size-of-letters.tar": (header(third, 124, b"00x00000000\0"), all_keys[:2], *impossible, []),
            "latin-1.tar": (with_member(5, "café".encode("latin-1")), but_third, "text_not_utf8", None, []),
            "long-text.tar.gz": (gzip.compress(with_member(5, b"a" * 100_000), mtime=0), but_third, "text_too_large", None, []),
            "no-bytes.tar": (with_member(4, b""), but_third, "picture_empty", None, []),
            "zeros.tar": (with_member(4, bytes(300)), but_third, "picture_undecodable", None, []),
            "half.tar": (with_member(4, members[4][1][:-200]), but_third, "picture_truncated", None, []),
            "two.tar": (whole + whole[:2048], all_keys, None, None, ["archive_bytes_behind_end"]),
            "page.tar": (b"<html>not found</html>" * 40, [], None, "archive_not_a_tar", []),
            "nothing.tar": (b"", [], None, "archive_not_a_tar", []),
            "bad-crc.tar.gz": (gzip.compress(whole, mtime=0)[:-8] + bytes(8), [], None, "archive_compression_invalid", []),
        }
        captions = {name.split(".")[0]: body.decode() for name, body in members[1::2]}
        pictures = {name.split(".")[0]: self.seen(body) for name, body in members[::2]}
        expected = {}
        for name, (body, yields, skipped, problem, may_report) in cases.items():
            (folder / name).write_bytes(body)
            given = [{"key": key, "caption": captions[key], "rgb_sha256": pictures[key]["rgb_sha256"]} for key in yields]
            careful = {"yields": given, "skipped": [{"key": "000002", "reason": skipped}] if skipped else [],
                       "archive_problem": problem, "may_yield": [], "may_report": may_report}
            expected[name] = {"careful": careful}
        (folder / "whole.tar").unlink()
        save(folder, {"whole": {key: {"key": key, "image": pictures[key]} for key in pictures}, "cases": expected})


def write(target, members, form):
    """A shard in one of the three forms; `.gz` by its name."""
    form = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}[form]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    body = buffer.getvalue().rstrip(b"\0")
    body += bytes(-len(body) % 512 + 1024)
    if isinstance(target, Path):
        target.write_bytes(gzip.compress(body, mtime=0) if target.suffix == ".gz" else body)
    else:
        target.write(body)


def save(folder, expected):
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    folder = options.out / "data"
    maker = Maker(folder, options.seed)
    maker.webdataset()
    maker.damaged()
    # Other scripts put their pictures there as well.
    path = folder / "pixels.json"
    cells = json.loads(path.read_text()) if path.exists() else {"cell_tolerance_for_lossy": 4.0, "pictures": {}}
    cells["pictures"] |= maker.cells
    path.write_text(json.dumps(cells, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
