"""The package says what the program `blip2` says."""

import json
import os
import subprocess

import blip2
import numpy
import pytest
from conftest import by_program, pictures
from pathlib import Path

QUESTION = "what is on the left?"


def written(text: blip2.Text) -> dict:
    return {"text": text.text, "ids": text.ids, "score": text.score}


def said(records: list[dict]) -> list[dict]:
    return [{key: record[key] for key in ("text", "ids", "score")} for record in records]


def test_captions(writer):
    files = pictures(Path(writer.name))
    records = by_program("caption", writer.name, *files)
    assert [written(text) for text in writer.caption(files)] == said(records)


def test_captions_behind_a_prompt(writer, picture):
    records = by_program("caption", writer.name, picture, "--prompt", "a photo of", "--num-beams", 3, "--length-penalty", 2)
    text = writer.caption(picture, "a photo of", num_beams=3, length_penalty=2.0)
    assert [written(text)] == said(records)


def test_several_texts_of_beams(writer, picture):
    records = by_program("caption", writer.name, picture, "--num-captions", 3)
    texts = writer.caption(picture, num_return_sequences=3)
    assert [written(text) for text in texts] == said(records)


def test_samples(writer):
    files = pictures(Path(writer.name))
    options = ["--num-captions", 2, "--top-p", 0.9, "--temperature", 1.5, "--seed", 7]
    records = said(by_program("caption", writer.name, *files, *options))
    rows = writer.caption(files, num_return_sequences=2, top_p=0.9, temperature=1.5, seed=7)
    assert [written(text) for row in rows for text in row] == records
    others = writer.caption(files, num_return_sequences=2, top_p=0.9, temperature=1.5, seed=8)
    assert others != rows


def test_answers(writer, picture):
    records = by_program("ask", writer.name, picture, QUESTION)
    assert [written(writer.ask(picture, QUESTION))] == said(records)


@pytest.mark.parametrize("dtype", ["bf16", "int8", "int4"])
def test_packed_models(writer, picture, dtype):
    packed = blip2.load(writer.name, device="flex", dtype=dtype)
    assert packed.dtype == dtype
    records = by_program("caption", writer.name, picture, "--dtype", dtype)
    assert [written(packed.caption(picture))] == said(records)


def test_a_conversation(writer, picture):
    questions = [QUESTION, "and above it?"]
    program = os.environ.get("BLIP2_PROGRAM") or pytest.skip("BLIP2_PROGRAM names no program to compare with")
    line = [program, "chat", "--model", writer.name, "--device", "flex", picture, "--max-new-tokens", "6", "--json"]
    done = subprocess.run(line, input="\n".join(questions), capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    chat = writer.chat(picture)
    assert [written(chat.ask(question, max_new_tokens=6)) for question in questions] == said(records)
    assert chat.history == [(record["question"], record["text"]) for record in records]


def test_matches(matcher):
    texts = ["a red square", "two dogs"]
    for picture in pictures(Path(matcher.name)):
        records = by_program("match", matcher.name, picture, "--text", *texts)
        found = matcher.match(picture, texts)
        for record, match in zip(records, found, strict=True):
            assert (match.itm_probability, match.itc) == (record["itm_probability"], record["itc"])
        # Alone a text is not padded to the longer one.
        alone = matcher.match(picture, texts[0])
        assert alone.itc == pytest.approx(found[0].itc, abs=1e-6)


def test_the_same_arrays_as_in_files(matcher, writer, tmp_path):
    """`blip2 embed` writes safetensors: a length, a header in JSON, numbers."""
    program = os.environ.get("BLIP2_PROGRAM") or pytest.skip("BLIP2_PROGRAM names no program to compare with")
    files = pictures(Path(matcher.name))
    texts = [f"a picture of {number} things" for number in range(len(files))]
    pairs = {"image": (files, []), "text": ([], texts), "multimodal": (files, texts)}
    for model, modes in ((matcher, pairs), (writer, {"image": (files, [])})):
        for mode, (images, text) in modes.items():
            out = tmp_path / f"{mode}.safetensors"
            line = [program, "embed", "--model", model.name, "--device", "flex", "--mode", mode, "--out", out, *images]
            subprocess.run([*line, *(["--text", *text] if text else [])], capture_output=True, check=True)
            arrays = model.embed(images or None, text or None)
            expected = safetensors(out)
            assert arrays.keys() == expected.keys()
            for name, array in arrays.items():
                assert array.dtype == numpy.float32
                numpy.testing.assert_array_equal(array, expected[name], err_msg=name)


def safetensors(file: Path) -> dict[str, numpy.ndarray]:
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    arrays = {}
    for name, tensor in header.items():
        assert tensor["dtype"] == "F32"
        first, last = tensor["data_offsets"]
        numbers = numpy.frombuffer(content[start + first : start + last], "<f4")
        arrays[name] = numbers.reshape(tensor["shape"])
    return arrays
