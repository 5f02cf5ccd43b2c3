"""However a picture is given, it is the same picture."""

import io
from pathlib import Path

import numpy
import pytest
from conftest import pictures
from PIL import Image


def test_paths_bytes_images_and_arrays_are_alike(writer, picture):
    image = Image.open(picture).convert("RGB")
    array = numpy.asarray(image)
    expected = writer.caption(picture)
    padded = numpy.zeros((array.shape[0], 2 * array.shape[1], 4), numpy.uint8)
    padded[:, ::2, :3] = array
    for given in (
        str(picture),
        picture.read_bytes(),
        bytearray(picture.read_bytes()),
        image,
        Image.open(picture),
        array,
        array[::-1][::-1],
        numpy.asfortranarray(array),
        # Neither gaps nor opacity count.
        padded[:, ::2, :3],
        padded[:, ::2],
    ):
        assert writer.caption(given) == expected, type(given)


def test_a_list_is_as_its_pictures(writer):
    files = pictures(Path(writer.name))
    images = [Image.open(file).convert("RGB").resize((40, 30)) for file in files]
    texts = writer.caption(images)
    assert [text.ids for text in texts] == [writer.caption(image).ids for image in images]
    arrays = numpy.stack([numpy.asarray(image) for image in images])
    for given in (arrays, tuple(images), list(arrays)):
        assert writer.caption(given) == texts
    assert [text.ids for text in writer.caption(images, batch_size=1)] == [text.ids for text in texts]
    assert writer.caption([images[0]]) == [writer.caption(images[0])]
    assert writer.caption([]) == []


def test_a_text_for_each_picture_or_one_for_all(writer):
    files = pictures(Path(writer.name))[:2]
    prompts = ["a photo of", "this is"]
    apart = [writer.caption(file, prompt).ids for file, prompt in zip(files, prompts)]
    assert [text.ids for text in writer.caption(files, prompts)] == apart
    questions = ["what?", "which colour?"]
    apart = [writer.ask(file, question).ids for file, question in zip(files, questions)]
    assert [text.ids for text in writer.ask(files, questions)] == apart
    assert [text.ids for text in writer.ask(files, "what?")] == [writer.ask(file, "what?").ids for file in files]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_images_of_other_modes_are_converted(writer, picture, mode):
    image = Image.open(picture).convert(mode)
    assert writer.caption(image) == writer.caption(image.convert("RGB"))


def test_grey_arrays(writer, picture):
    grey = Image.open(picture).convert("L")
    expected = writer.caption(grey)
    array = numpy.asarray(grey)
    assert writer.caption(array) == expected
    assert writer.caption(array[:, :, None]) == expected


def test_a_camera_s_note_of_the_orientation(writer, picture, tmp_path):
    import blip2

    lying = Image.open(picture).convert("RGB").resize((50, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    lying.save(buffer, "JPEG", exif=exif, quality=95)
    file = tmp_path / "lying.jpg"
    file.write_bytes(buffer.getvalue())
    given = (file, buffer.getvalue(), Image.open(file))
    as_stored = blip2.load(writer.name, device="flex", exif=False)
    stored = numpy.asarray(Image.open(file))
    for picture in given:
        assert writer.caption(picture) == writer.caption(numpy.rot90(stored, -1))
        assert as_stored.caption(picture) == writer.caption(stored)


def test_arrays_are_numpy_s_own(matcher):
    files = pictures(Path(matcher.name))
    arrays = matcher.embed(files, only="image_embeds_proj")
    (array,) = arrays.values()
    assert array.shape[0] == len(files)
    assert array.base is not None and not array.flags.owndata, "it was copied"
    assert array.flags.c_contiguous and array.flags.writeable
    numpy.testing.assert_allclose(numpy.linalg.norm(array, axis=-1), 1, rtol=1e-5)
    before = array.copy()
    array *= 2
    numpy.testing.assert_array_equal(array, before * 2)
    # It lives on behind a view when all else is gone.
    view = array[0, 0]
    expected = view.copy()
    del arrays, array
    again = [matcher.embed(files) for _ in range(3)]
    numpy.testing.assert_array_equal(view, expected)
    assert all(numpy.isfinite(other["image_embeds"]).all() for other in again)
