"""What the package tells of itself, and where it finds models."""

import ast
import importlib.metadata
import inspect
import json
import subprocess
import sys
from pathlib import Path

import blip2
import pytest
from conftest import pictures

PACKAGE = Path(blip2.__file__).parent


def test_versions_agree():
    assert blip2.__version__ == importlib.metadata.version("blip2")


def test_everything_has_words():
    for name in blip2.__all__:
        thing = getattr(blip2, name)
        if name != "__version__":
            assert thing.__doc__, name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and not issubclass(thing, dict):
                    assert value.__doc__, f"{name}.{member}"


def test_types_are_those_of_the_module():
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "blip2._blip2", "--ignore-disjoint-bases"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_help(tmp_path):
    assert (PACKAGE / "py.typed").exists()
    script = tmp_path / "script.py"
    script.write_text(
        "import blip2\n"
        "model = blip2.load('a')\n"
        "caption: str = model.caption('a.jpg', num_beams=3).text\n"
        "several: list[blip2.Text] = model.caption(['a.jpg', 'b.jpg'])\n"
        "for piece in model.ask('a.jpg', 'what?', stream=True):\n"
        "    print(piece.upper())\n"
        "shape: tuple[int, ...] = model.embed('a.jpg')['projected'].shape\n"
        "known: set[blip2.Text | blip2.Match] = {model.caption('a.jpg'), blip2.Text('a', (3,), 0.0), blip2.Match(0.5, 0.5)}\n"
        "model.caption('a.jpg', beams=3)  # type: ignore[call-overload]\n"
        "model.caption('a.jpg').upper()  # type: ignore[attr-defined]\n"
    )
    line = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", script]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_texts_show_themselves(writer, picture):
    text = writer.caption(picture)
    assert str(text) == text.text
    assert repr(text) == f"Text({text.text!r}, score={text.score!r})"
    with pytest.raises(AttributeError):
        text.text = "another"
    assert "f32" in repr(writer) and writer.device == "flex"


def test_names_lead_into_the_hub_s_cache(writer, picture, tmp_path, monkeypatch):
    commit = "0" * 40
    model = tmp_path / "models--tests--tiny"
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text(commit)
    (model / "snapshots").mkdir()
    (model / "snapshots" / commit).symlink_to(writer.name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for revision in (None, "main", commit):
        found = blip2.load("tests/tiny", device="flex", revision=revision)
        assert found.name == "tests/tiny"
        assert found.caption(picture) == writer.caption(picture)
    with pytest.raises(blip2.NotFoundError, match="revision `v2`"):
        blip2.load("tests/tiny", revision="v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(blip2.NotFoundError, match="HF_HUB_OFFLINE"):
        blip2.load("tests/none", download=True)


def test_the_notebook_runs(writer, monkeypatch, capsys):
    file = Path(__file__).parents[1] / "examples/pictures.ipynb"
    notebook = json.loads(file.read_text())
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "outputs are not kept"
    monkeypatch.setenv("BLIP2_MODEL", writer.name)
    monkeypatch.setenv("BLIP2_PICTURES", str(Path(pictures(Path(writer.name))[0]).parent))
    names: dict = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), file.name, "exec"), names)
    assert capsys.readouterr().out


def test_the_notebook_s_code_is_python():
    file = Path(__file__).parents[1] / "examples/pictures.ipynb"
    for cell in json.loads(file.read_text())["cells"]:
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))
