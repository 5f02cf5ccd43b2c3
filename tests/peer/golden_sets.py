"""Makes the formats of data sets in `data` of a golden folder, in small: files of the same layout as COCO's, Karpathy's, LAVIS's,
Visual Genome's, Flickr30k's, NoCaps's, VQAv2's, GQA's, Hugging Face's and img2dataset's, and what is to be read of them.

    pip install pyarrow==26.0.1 pillow==13.0.0 numpy
    python tests/peer/golden_sets.py OUT --seed 5
    cargo xtask parity --golden OUT

The expectations follow from how the files were made: see docs/fidelity.md for what the originals' own tools were asked.
"""

import argparse
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

TEXTS = ["a red square", "zwei Bäume, 緑の木 🌳", "cafe\u0301", "line\nbreak\n", "", "   ", '"quoted", it\'s', "tab\there", "NaN", " spaces "]


class Maker:
    def __init__(self, root, seed):
        self.random, self.root = np.random.default_rng(seed), root / "data"

    def bytes(self):
        width, height = (int(side) for side in self.random.integers(6, 20, 2))
        coarse = self.random.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        image, buffer = Image.fromarray(coarse).resize((width, height), Image.NEAREST), io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    def seen(self, encoded):
        with Image.open(io.BytesIO(encoded)) as image:
            rgb = np.asarray(image.convert("RGB"))
        return {"size": [rgb.shape[1], rgb.shape[0]], "rgb_sha256": hashlib.sha256(rgb.tobytes()).hexdigest(), "lossless": True,
                "bytes_sha256": hashlib.sha256(encoded).hexdigest()}

    def picture(self, file):
        """A new picture at `file`, whatever its name ends with, and what is seen in it."""
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        encoded = self.bytes()
        (self.root / file).write_bytes(encoded)
        return self.seen(encoded)

    def texts(self, least=1, most=6):
        return [TEXTS[place] for place in self.random.integers(len(TEXTS), size=self.random.integers(least, most))]

    def ids(self, count):
        return [int(number) for number in self.random.choice(10**6, count, replace=False)]

    def json(self, file, content):
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_text(json.dumps(content, ensure_ascii=False))

    def text(self, file, content):
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_bytes(content.encode())

    def shuffled(self, items):
        return [items[place] for place in self.random.permutation(len(items))]

    def coco(self):
        ids = sorted(self.ids(5)) + [2**53 + 1]
        name = lambda number: f"COCO_val2014_{number:012}.jpg"
        sides = {number: self.picture(f"coco/images/val2014/{name(number)}") for number in ids}
        captions = {number: self.texts() for number in ids}
        rows = self.shuffled([(number, place, text) for number in ids for place, text in enumerate(captions[number])])
        rows.sort(key=lambda row: row[1])
        images = [{"id": number, "file_name": name(number)} for number in self.shuffled(ids)]
        extra = [{"id": 3, "file_name": name(3)}, {"id": 4, "file_name": name(ids[0])}, images[0]]
        notes = [{"id": place, "image_id": row[0], "caption": row[2]} for place, row in enumerate(rows)]
        orphans = [{"id": 9000, "image_id": 99, "caption": "of nothing"}, {"id": 9001, "image_id": 3, "caption": "of no file"}]
        self.json("coco/annotations/captions_val2014.json", {"info": {}, "images": images + extra, "annotations": notes + orphans})
        files = {"captions_val2014.json": {
            "root": "images/val2014",
            "samples": [{"image_id": number, "file": f"images/val2014/{name(number)}", "captions": captions[number], "image": sides[number]} for number in ids],
            "skipped": [{"image_id": 3, "reason": "picture_missing"}, {"image_id": 4, "reason": "no_captions"}, {"image_id": 99, "reason": "image_not_listed"}],
            "pairs": {"rows": [[note["id"], note["image_id"], note["caption"]] for note in notes]}}}
        files["dataset_coco.json"] = self.karpathy("coco", "dataset_coco.json", "images/", {number: sides[number] for number in ids}, name, "val2014")
        entries = [{"image": f"val2014/{name(number)}", "caption": text, "image_id": f"coco_{number}"} for number in ids for text in captions[number]]
        self.json("coco/annotations/coco_karpathy_train.json", entries)
        files["coco_karpathy_train.json"] = {"samples": [
            {"index": place, "file": f"images/{entry['image']}", "image_id": entry["image_id"], "caption": entry["caption"],
             "image_number": list(dict.fromkeys(entry["image_id"] for entry in entries)).index(entry["image_id"]),
             "image": sides[int(entry["image_id"][5:])]} for place, entry in enumerate(entries)]}
        self.json("coco/annotations/coco_karpathy_val.json", [{"image": f"val2014/{name(number)}", "caption": captions[number]} for number in ids])
        starts = np.cumsum([0] + [len(captions[number]) for number in ids])
        files["coco_karpathy_val.json"] = {"samples": [
            {"index": place, "file": f"images/val2014/{name(number)}", "image_id_of_eval": f"{number:012}", "captions": captions[number],
             "text_ids": [int(start) for start in range(starts[place], starts[place + 1])], "image": sides[number]} for place, number in enumerate(ids)]}
        truth = [{"image_id": note["image_id"], "id": note["id"], "caption": note["caption"]} for note in notes]
        self.json("coco/annotations/coco_karpathy_val_gt.json", {"annotations": truth, "images": [{"id": number} for number in ids]})
        files["coco_karpathy_val_gt.json"] = {"captions": captions}
        self.json("coco/expected.json", {"files": files})
        return {number: f"val2014/{name(number)}" for number in ids[:-1]}, sides

    def karpathy(self, folder, file, below, sides, name, path=None):
        splits = ["train", "restval", "val", "test"] if path else ["train", "val", "test"]
        images, expected = [], {split: [] for split in splits}
        for place, (number, seen) in enumerate(sides.items()):
            split, texts = splits[place % len(splits)], self.texts()
            image = {"filename": name(number), "imgid": place, "split": split, "sentences": [{"raw": text, "tokens": text.split()} for text in texts]}
            images.append(image | ({"filepath": path, "cocoid": number} if path else {}))
            file_name = f"{below}{path + '/' if path else ''}{name(number)}"
            expected[split].append({"imgid": place, "file": file_name, "captions": texts, "image": seen} | ({"cocoid": number} if path else {}))
        self.json(f"{folder}/annotations/{file}", {"images": images, "dataset": folder})
        return {"splits": expected}

    def visual_genome(self):
        ids, files = self.ids(4), {}
        of = {number: f"VG_100K{'_2' if place % 2 else ''}/{number}.jpg" for place, number in enumerate(ids)}
        sides = {number: self.picture(f"visual-genome/images/{of[number]}") for number in ids}
        self.json("visual-genome/annotations/image_data.json", [{"image_id": number, "url": f"https://example.com/rak/{of[number]}"} for number in ids])
        regions = {number: [(number * 10 + place, text) for place, text in enumerate(self.texts())] for number in ids[:-1]} | {ids[-1]: []}
        box = {"x": -2, "y": 1, "width": 5, "height": 9}
        self.json("visual-genome/annotations/region_descriptions.json", [
            {"id": number, "regions": [{"region_id": own, "image_id": number, "phrase": text} | box for own, text in regions[number]]} for number in ids])
        file = lambda number: f"images/{of[number]}"
        files["region_descriptions.json"] = {
            "samples": [{"region_id": own, "image_id": number, "file": file(number), "caption": text, "image": sides[number]} for number in ids for own, text in regions[number]],
            "skipped": [{"image_id": ids[-1], "file": file(ids[-1]), "reason": "no_captions"}]}
        rows = [(number, text) for number in ids for _, text in regions[number]]
        entry = lambda number, path: {"image": path, "image_id": f"vg_{number}"}
        self.json("visual-genome/annotations/vg_caption.json", [entry(number, of[number]) | {"caption": text} for number, text in rows])
        self.json("visual-genome/annotations/vg_caption_as_published.json", [entry(number, f"/export/share/image/{number}.jpg") | {"caption": text} for number, text in rows])
        files["vg_caption.json"] = {"samples": [{"index": place, "file": file(number), "image_id": f"vg_{number}", "caption": text, "image": sides[number]} for place, (number, text) in enumerate(rows)]}
        files["vg_caption_as_published.json"] = {"same_as": "vg_caption.json"}
        asked = [(number * 7 + place, number, f"What is {place}?", answer) for number in ids for place, answer in enumerate(["Blue.", "on the left"])]
        self.json("visual-genome/annotations/question_answers.json", [
            {"id": number, "qas": [{"qa_id": own, "image_id": of_, "question": question, "answer": answer} for own, of_, question, answer in asked if of_ == number]} for number in ids])
        files["question_answers.json"] = {"samples": [{"question_id": own, "image_id": number, "file": file(number), "question": question, "answer": answer} for own, number, question, answer in asked]}
        self.json("visual-genome/annotations/vg_qa.json", [{"question_id": own, "question": question, "answer": answer, "image": of[number], "dataset": "vg"} for own, number, question, answer in asked])
        files["vg_qa.json"] = {"samples": [{"question_id": own, "file": file(number), "question": question, "answers": [answer], "weights": [0.2]} for own, number, question, answer in asked]}
        self.json("visual-genome/expected.json", {"files": files})

    def flickr30k(self):
        ids, files = sorted(self.ids(5), key=str), {}
        name = lambda number: f"{number}.jpg"
        sides = {number: self.picture(f"flickr30k/images/flickr30k-images/{name(number)}") for number in ids}
        captions = {number: [text.strip() + " end" for text in self.texts() if "\n" not in text and "\t" not in text] or ["one"] for number in ids}
        lines = [f"{name(number)}#{place}\t{text} " for number in self.shuffled(ids) for place, text in enumerate(captions[number])]
        self.text("flickr30k/annotations/results_20130124.token", "\n".join(lines) + "\n")
        samples = [{"file": f"images/flickr30k-images/{name(number)}", "captions": [text.rstrip() for text in captions[number]], "image": sides[number]} for number in ids]
        files["results_20130124.token"] = {"samples": samples}
        files["dataset_flickr30k.json"] = self.karpathy("flickr30k", "dataset_flickr30k.json", "images/flickr30k-images/", sides, name)
        self.json("flickr30k/expected.json", {"files": files})

    def nocaps(self):
        names, domains, files = [f"{number:016x}.jpg" for number in self.ids(4)], ["in-domain", "near-domain", "out-domain"], {}
        sides = {name: self.picture(f"nocaps/images/val/{name}") for name in names}
        captions = {name: self.texts(2, 6) for name in names}
        images = [{"id": place, "file_name": name, "domain": domains[place % 3]} for place, name in enumerate(names)]
        notes = [{"image_id": place, "caption": text} for place, name in enumerate(names) for text in captions[name]]
        self.json("nocaps/annotations/nocaps_val_4500_captions.json", {"images": images, "annotations": notes})
        files["nocaps_val_4500_captions.json"] = {
            "samples": [{"image_id": place, "file": f"images/val/{name}", "captions": captions[name], "image": sides[name]} for place, name in enumerate(names)],
            "domains": {domain: [image["id"] for image in images if image["domain"] == domain] for domain in domains}}
        test = [{"id": place, "file_name": name} | dict(zip(["width", "height"], self.picture(f"nocaps/images/test/{name}")["size"])) for place, name in enumerate(["00a.jpg", "00b.jpg"])]
        self.json("nocaps/annotations/nocaps_test_image_info.json", {"images": test})
        files["nocaps_test_image_info.json"] = {"images": [[image["id"], f"images/test/{image['file_name']}"] for image in test]}
        self.json("nocaps/annotations/nocaps_val.json", [{"image": f"val/{name}", "img_id": place} for place, name in enumerate(names)])
        files["nocaps_val.json"] = {"samples": [{"index": place, "image_id": place, "file": f"images/val/{name}", "image": sides[name]} for place, name in enumerate(names)]}
        self.json("nocaps/expected.json", {"files": files})

    def vqa(self, pictures, sides):
        files, answers = {}, lambda: [["brown", "Brown", "2 ", "a few", "yes, naïvely"][place] for place in self.random.integers(5, size=10)]
        asked = [{"question_id": number * 1000 + place, "image_id": number, "question": f"What is {place}, \"really\"?", "answers": answers()}
                 for number in pictures for place in range(2)]
        file = lambda row: f"../coco/images/{pictures[row['image_id']]}"
        question = lambda row: {key: row[key] for key in ["question_id", "image_id", "question"]}
        self.json("vqa/vqav2/questions.json", {"data_subtype": "val2014", "questions": [question(row) for row in asked]})
        self.json("vqa/vqav2/annotations.json", {"annotations": [
            {"question_id": row["question_id"], "answers": [{"answer": answer, "answer_id": place} for place, answer in enumerate(row["answers"])]} for row in self.shuffled(asked)]})
        files["vqav2/annotations.json"] = {"questions": "questions.json", "samples": [question(row) | {"answers": row["answers"], "file": file(row)} for row in asked]}
        self.json("vqa/okvqa/list.json", [{"image": pictures[row["image_id"]], "question": row["question"], "question_id": row["question_id"], "answer": row["answers"]} for row in asked])
        weighed = lambda row: {answer: sum(0.1 for own in row["answers"] if own == answer) for answer in dict.fromkeys(row["answers"])}
        files["okvqa/list.json"] = {"samples": [
            {"question_id": row["question_id"], "question": row["question"], "file": file(row), "image": sides[row["image_id"]],
             "answers": list(weighed(row)), "weights": list(weighed(row).values())} for row in asked]}
        known = sorted({answer for row in asked for answer in row["answers"]})
        self.json("vqa/vqav2/answer_list.json", known)
        self.json("vqa/vqav2/eval.json", [{"image": pictures[row["image_id"]], "question": row["question"], "question_id": row["question_id"]} for row in asked])
        files["vqav2/eval.json"] = {"answer_list": len(known), "samples": [{"question_id": row["question_id"], "question": row["question"], "file": file(row)} for row in asked]}
        self.json("vqa/vqav2/test.json", {"data_subtype": "test2015", "questions": [{"question_id": 5, "image_id": 5, "question": "What is this?"}]})
        files["vqav2/test.json"] = {"question_ids": [5]}
        numbers = [f"{number:08}" for number in self.ids(4)]
        seen = self.picture("vqa/gqa/images/n1.jpg")
        rows = [{"question_id": number, "question": "Is it red?", "answer": "yes", "balanced": place % 2 == 0, "file": "gqa/images/n1.jpg", "image": seen} for place, number in enumerate(numbers)]
        self.json("vqa/gqa/all.json", {row["question_id"]: {"question": row["question"], "imageId": "n1", "answer": "yes", "isBalanced": row["balanced"], "groups": {"global": None}} for row in rows})
        files["gqa/all.json"] = {"samples": rows}
        self.json("vqa/expected.json", {"files": files})

    def parquet(self):
        sets = {}
        for codec in ["snappy", "gzip", "zstd", "none"]:
            rows = [{"image": {"bytes": self.bytes(), "path": None if place % 2 else f"p{place}.png"}, "captions": self.texts(0, 4), "image_id": place} for place in range(9)]
            table = pa.Table.from_pylist(rows)
            file = f"hf-parquet/{codec}/train-00000-of-00001.parquet"
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, self.root / file, row_group_size=4, compression=codec)
            samples = [{"row": place, "captions": row["captions"], "image_id": place, "image": self.seen(row["image"]["bytes"])} for place, row in enumerate(rows)]
            sets[codec] = {"image_column": "image", "text_column": "captions", "files": {Path(file).name: {"row_groups": [4, 4, 1]}},
                           "samples": [sample for sample in samples if sample["captions"]],
                           "skipped": [sample | {"reason": "no_captions"} for sample in samples if not sample["captions"]]}
        kind = pa.schema([("jpg", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("caption", pa.string())])
        good = self.bytes()
        rows = [({"bytes": good, "path": None}, "a"), (None, "b"), ({"bytes": None, "path": "far.png"}, "c"), ({"bytes": b"", "path": "e"}, "d"), ({"bytes": good, "path": "f"}, None), ({"bytes": b"no picture", "path": "g"}, "g"), ({"bytes": good, "path": "h"}, "")]
        reasons = [None, "picture_null", "picture_bytes_missing", "picture_empty", "text_null", "picture_undecodable", None]
        for name, own in [("holes", rows), ("no-rows", [])]:
            (self.root / f"hf-parquet/{name}").mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist([dict(zip(["jpg", "caption"], row)) for row in own], schema=kind), self.root / f"hf-parquet/{name}/data.parquet", row_group_size=3)
            sets[name] = {"image_column": "jpg", "text_column": "caption", "files": {"data.parquet": {"row_groups": [3, 3, 1] if own else [0]}},
                          "samples": [{"row": place, "caption": row[1], "image": self.seen(good)} for place, row in enumerate(own) if not reasons[place]],
                          "skipped": [{"row": place, "reason": reason} for place, reason in enumerate(reasons) if reason and own]}
        for name, end in [("imagefolder-jsonl", "jsonl"), ("imagefolder-csv", "csv")]:
            rows = [(f"below/p{place}.png", text) for place, text in enumerate(TEXTS)]
            samples = [{"file": file, "text": text, "csv_text": text, "image": self.picture(f"hf-parquet/{name}/{file}")} for file, text in self.shuffled(rows)]
            quoted = lambda text: '"' + text.replace('"', '""') + '"'
            lines = [json.dumps({"file_name": sample["file"], "text": sample["text"]}) if end == "jsonl" else f"{sample['file']},{quoted(sample['text'])}" for sample in samples]
            self.text(f"hf-parquet/{name}/metadata.{end}", "\n".join(([] if end == "jsonl" else ["file_name,text"]) + lines) + "\n")
            self.picture(f"hf-parquet/{name}/unmentioned.png")
            sets[name] = {"splits": {"train": {"samples": samples}}, "skipped": [{"file": "unmentioned.png", "reason": "not_in_metadata"}]}
        self.json("hf-parquet/expected.json", {"sets": sets})

    def fetched(self, folder, captions, taken, per_shard):
        """What img2dataset would leave of a list: shards of files, tables, statistics."""
        digits = len(str(per_shard - 1))
        rows = []
        for line, caption in enumerate(captions):
            shard, row = divmod(line, per_shard)
            key = f"{shard:05}{row:0{digits}}"
            failed = line % 5 == 3
            rows.append({"key": key, "url": f"http://example.com/{line}", "caption": caption, "status": "failed_to_download" if failed else "success", "shard": f"{shard:05}"})
            if not failed:
                rows[-1]["image"] = self.picture(f"{folder}/{shard:05}/{key}.jpg")
                self.text(f"{folder}/{shard:05}/{key}.txt", taken(caption))
                self.json(f"{folder}/{shard:05}/{key}.json", {"caption": taken(caption), "key": key})
        shards = {}
        for shard in sorted({row["shard"] for row in rows}):
            own = self.shuffled([row for row in rows if row["shard"] == shard])
            columns = ["caption", "url", "key", "status"]
            pq.write_table(pa.Table.from_pylist([{column: row[column] for column in columns} for row in own]), self.root / f"{folder}/{shard}.parquet")
            good = sorted((row for row in own if "image" in row), key=lambda row: row["key"])
            self.json(f"{folder}/{shard}_stats.json", {"count": len(own), "successes": len(good)})
            shards[shard] = {"samples": [{"key": row["key"], "file": f"{shard}/{row['key']}.jpg", "caption": taken(row["caption"]), "json_caption": taken(row["caption"]), "image": row["image"]} for row in good],
                             "failed": [{"key": row["key"], "reason": row["status"]} for row in own if "image" not in row],
                             "keys_in_parquet_order": [row["key"] for row in own], "stats": {"successes": len(good)}}
        return rows, shards

    def img2dataset(self):
        _, shards = self.fetched("img2dataset/files", TEXTS, lambda text: text, 4)
        self.json("img2dataset/expected.json", {"runs": {"files": {"output_format": "files", "shards": shards}}})
        captions = ["a red square", '"the best day" , he says', "über # 1 , 50 %", "gone", "end", "again", "<PERSON> & friends", "seven"]
        unquoted = lambda text: text.replace('"', "") if text.startswith('"') else text
        rows, shards = self.fetched("cc3m/images", captions, unquoted, 3)
        self.text("cc3m/list.tsv", "".join(f"{row['caption']}\t{row['url']}\n" for row in rows))
        good = [row for row in rows if "image" in row]
        samples = [{"key": row["key"], "caption": row["caption"], "img2dataset_caption": unquoted(row["caption"]), "file": f"images/{row['shard']}/{row['key']}.jpg", "image": row["image"]} for row in good]
        skipped = [{"key": row["key"], "reason": row["status"]} for row in rows if "image" not in row]
        self.json("cc3m/cc3m.json", [{"image": sample["file"][7:], "caption": sample["caption"]} for sample in samples])
        lists = {"list.tsv": {"samples": samples, "skipped": skipped}, "cc3m.json": {"samples": [{key: sample[key] for key in ["file", "caption", "image"]} for sample in samples]}}
        self.json("cc3m/expected.json", {"files": lists})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    maker = Maker(arguments.out, arguments.seed)
    pictures, sides = maker.coco()
    maker.visual_genome()
    maker.flickr30k()
    maker.nocaps()
    maker.vqa(pictures, sides)
    maker.parquet()
    maker.img2dataset()
    cells = maker.root / "pixels.json"
    if not cells.exists():
        cells.write_text(json.dumps({"cell_tolerance_for_lossy": 4.0, "pictures": {}}))


if __name__ == "__main__":
    main()
