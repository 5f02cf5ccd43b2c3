"""What cannot be done raises, with the reason; nothing ends the interpreter."""

import math
from pathlib import Path

import blip2
import numpy
import pytest
from conftest import WRITERS, named, pictures, positions


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(blip2.NotFoundError, match="blip2 pull nobody/nothing"):
        blip2.load("nobody/nothing")
    with pytest.raises(FileNotFoundError, match="no model folder"):
        blip2.load(tmp_path)
    with pytest.raises(blip2.NotFoundError, match="no revision"):
        blip2.load(tmp_path, revision="main")
    with pytest.raises(blip2.Blip2Error, match="leave out"):
        blip2.load(tmp_path, download=True)
    with pytest.raises(TypeError):
        blip2.load(7)


def test_devices_and_number_formats(writer):
    with pytest.raises(blip2.InputError, match="flex, cuda, wgpu and libtorch"):
        blip2.load(writer.name, device="tpu")
    with pytest.raises(ValueError, match="auto, f32, bf16, int8, int4"):
        blip2.load(writer.name, dtype="fp16")
    with pytest.raises(blip2.DeviceError, match="cannot be used"):
        blip2.load(writer.name, device="libtorch")


def test_damaged_models(writer, tmp_path):
    for file in Path(writer.name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(blip2.Blip2Error, match="model.safetensors"):
        blip2.load(tmp_path).caption(pictures(tmp_path)[0])


def test_pictures_that_are_none(writer, picture, tmp_path):
    with pytest.raises(blip2.NotFoundError, match="nowhere.png"):
        writer.caption(tmp_path / "nowhere.png")
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    with pytest.raises(blip2.InputError, match="text.png is not a picture"):
        writer.caption([picture, text])
    with pytest.raises(blip2.InputError, match="picture 1 of the list"):
        writer.caption([picture, b"no picture"])
    with pytest.raises(blip2.InputError, match="the picture"):
        writer.caption(picture.read_bytes()[:100])
    for value in (3, None, {}, object(), [picture, 3.5], iter([picture])):
        with pytest.raises(TypeError, match="a picture is a path"):
            writer.caption(value)


def test_arrays_that_are_no_pictures(writer):
    for shape, kind, reason in (
        ((4, 4, 3), numpy.float32, "uint8"),
        ((4, 4, 3), numpy.int64, "uint8"),
        ((3, 8, 8), numpy.uint8, "channels come last"),
        ((4, 4, 2), numpy.uint8, "height, width, 3"),
        ((4,), numpy.uint8, "height, width, 3"),
        ((), numpy.uint8, "height, width, 3"),
        ((0, 4, 3), numpy.uint8, "shows nothing"),
        ((4, 0), numpy.uint8, "shows nothing"),
        ((2, 2, 4, 4, 3), numpy.uint8, "height, width, 3"),
    ):
        with pytest.raises(blip2.InputError, match=reason):
            writer.caption(numpy.zeros(shape, kind))


def test_too_many_pixels(writer, picture):
    careful = blip2.load(writer.name, device="flex", max_pixels=10)
    with pytest.raises(blip2.InputError, match="at most 10"):
        careful.caption(picture)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"num_beams": -1}, "num_beams is -1"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": 0.5, "do_sample": False}, "do_sample"),
        ({"temperature": 0}, "temperature"),
        ({"length_penalty": math.inf}, "length_penalty"),
        ({"early_stopping": "always"}, "early_stopping"),
        ({"seed": -1}, "seed"),
        ({"num_beams": 1, "num_return_sequences": 2}, "greedy"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences"),
        ({"num_return_sequences": 0}, "num_return_sequences"),
        ({"by": "magic"}, "qformer"),
        ({"batch_size": 0}, "batch_size"),
        ({"stream": True, "num_return_sequences": 2}, "stream"),
        ({"by": "qformer", "prompt": "a"}, "without a prompt"),
    ],
)
def test_options_that_make_no_sense(writer, picture, options, reason):
    with pytest.raises(blip2.InputError, match=reason):
        writer.caption(picture, **options)


def test_options_of_another_type(writer, picture):
    for options in ({"num_beams": "five"}, {"num_beams": 1.5}, {"top_p": "x"}, {"beams": 3}, {"prompt": 3}):
        with pytest.raises(TypeError):
            writer.caption(picture, **options)


def test_texts_and_pictures_that_do_not_go_together(writer, picture):
    with pytest.raises(blip2.InputError, match="2, for 1 pictures"):
        writer.ask([picture], ["a", "b"])
    with pytest.raises(blip2.InputError):
        writer.ask(picture, ["a"])
    with pytest.raises(blip2.InputError, match="no list"):
        writer.caption([picture], stream=True)


def test_uses_that_were_not_trained(writer, matcher, picture):
    with pytest.raises(blip2.UntrainedError, match="stage 1"):
        writer.match(picture, "a")
    with pytest.raises(blip2.UntrainedError):
        writer.embed(text="a")
    with pytest.raises(blip2.UntrainedError):
        matcher.caption(picture)
    with pytest.raises(blip2.UntrainedError):
        list(matcher.ask(picture, "what?", stream=True))
    with pytest.raises(blip2.UntrainedError):
        writer.caption(picture, by="qformer")


def test_embedding_nothing(writer, matcher, picture):
    with pytest.raises(blip2.InputError, match="nothing to embed"):
        writer.embed()
    with pytest.raises(blip2.InputError, match="`colour` is not among"):
        matcher.embed(picture, only="colour")


def test_conversations_about_nothing(writer):
    with pytest.raises(blip2.InputError, match="no picture to talk about"):
        writer.chat().ask("what?")
    with pytest.raises(blip2.InputError, match="dialogue, instruction, qwen and gemma"):
        writer.chat(template="shouting")


@pytest.mark.parametrize("folder", [folder for folder in WRITERS if positions(folder)], ids=named)
def test_more_than_the_model_can_read(folder):
    model = blip2.load(folder, device="flex")
    with pytest.raises(blip2.InputError, match="tokens"):
        model.caption(pictures(folder)[0], "word " * positions(folder))
