"""Texts that are heard while they are written are the texts that are given at once."""

import gc
from pathlib import Path

import blip2
import pytest
from conftest import pictures

OPTIONS = [
    {"num_beams": 1, "max_new_tokens": 20},
    {"num_beams": 3, "max_new_tokens": 12},
    {"top_p": 0.9, "temperature": 1.3, "seed": 5, "max_new_tokens": 20},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_pieces_are_the_whole(writer, options):
    for picture in pictures(Path(writer.name)):
        for call in (
            lambda **more: writer.caption(picture, "a photo of", **options, **more),
            lambda **more: writer.ask(picture, "what is this?", **options, **more),
        ):
            stream, whole = call(stream=True), call()
            pieces = list(stream)
            assert "".join(pieces) == whole.text
            assert stream.result() == whole
            assert next(stream, None) is None
            assert call(stream=True).result() == whole


def test_greedy_words_come_one_by_one(writer, picture):
    stream = writer.caption(picture, stream=True, num_beams=1, min_new_tokens=20, max_new_tokens=20)
    assert len([piece for piece in stream if piece]) > 1


def test_a_conversation_streams(writer, picture):
    aloud, silent = writer.chat(picture), writer.chat(picture)
    for question in ("what is this?", "and what colour?"):
        pieces = list(aloud.ask(question, stream=True, max_new_tokens=6))
        assert "".join(pieces) == silent.ask(question, max_new_tokens=6).text
    assert aloud.history == silent.history and len(aloud.history) == 2
    silent.reset()
    assert silent.history == []
    again = silent.ask("what is this?", max_new_tokens=6)
    silent.look_at(pictures(Path(writer.name))[1])
    assert silent.history == []
    assert aloud.history[0][1] == again.text


def test_an_answer_that_is_written_is_kept_heard_or_not(writer, picture):
    chat = writer.chat(picture)
    stream = chat.ask("what is this?", stream=True, max_new_tokens=4)
    heard = next(stream, "")
    # The history waits for the answer that is being written.
    ((question, answer),) = chat.history
    assert answer.startswith(heard)
    stream.close()
    assert list(stream) == []
    assert chat.history == [(question, answer)]


def test_what_nobody_hears_is_given_up(endless):
    picture = pictures(Path(endless.name))[0]
    options = {"num_beams": 1, "min_new_tokens": 60000, "max_new_tokens": 60000}
    stream = endless.caption(picture, stream=True, **options)
    next(stream)
    stream.close()
    assert list(stream) == []
    with pytest.raises(blip2.InputError, match="closed"):
        stream.result()
    chat = endless.chat(picture)
    for _ in chat.ask("what?", stream=True, **options):
        break
    gc.collect()
    # The answer was given up: the conversation is free, and knows nothing of it.
    assert chat.history == []
    chat.ask("what?", max_new_tokens=3)
    assert len(chat.history) == 1
