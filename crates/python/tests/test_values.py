"""Texts and matches are values: kept, copied, looked up."""

import copy
import pickle

import blip2
import pytest

TEXT = blip2.Text("a dog", [3, 4], -0.5)
MATCH = blip2.Match(0.75, -0.25)


@pytest.mark.parametrize("value", [TEXT, MATCH])
def test_they_are_pickled_and_copied(value):
    pickled = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for same in (*pickled, copy.copy(value), copy.deepcopy(value)):
        assert type(same) is type(value)
        assert same == value and repr(same) == repr(value)


def test_what_models_say_is_pickled_without_a_loss(writer, picture):
    texts = writer.caption([picture], num_return_sequences=2)
    assert pickle.loads(pickle.dumps(texts)) == texts


def test_matches_are_looked_up():
    match = blip2.Match(0.5, 0.25)
    assert {match: "found"}[blip2.Match(0.5, 0.25)] == "found"
    assert (match.itm_probability, match.itc) == (0.5, 0.25)
    assert blip2.Match(0.25, 0.5) not in {match}


def test_equal_ones_are_one_in_a_set():
    same = blip2.Text("a dog", (3, 4), -0.5)
    assert hash(same) == hash(TEXT) and {same, TEXT} == {TEXT}
    others = {blip2.Text("a cat", [3, 4], -0.5), blip2.Text("a dog", [3], -0.5), blip2.Text("a dog", [3, 4], -0.25)}
    assert len(others) == 3 and TEXT not in others
    # Equal, though their bits differ.
    assert blip2.Match(0.0, 0.0) == blip2.Match(-0.0, 0.0)
    assert hash(blip2.Match(0.0, 0.0)) == hash(blip2.Match(-0.0, 0.0))


def test_texts_are_formatted_as_strings_are():
    assert f"{TEXT:>8}|{TEXT}|{TEXT:.3}" == "   a dog|a dog|a d"
    with pytest.raises(ValueError, match="format code"):
        f"{TEXT:d}"


def test_values_of_another_type():
    for make in (
        lambda: blip2.Text(3, [3], 0.0),
        lambda: blip2.Text("a", "b", 0.0),
        lambda: blip2.Text("a", [3]),
        lambda: blip2.Match("a", 0.0),
    ):
        with pytest.raises(TypeError):
            make()
