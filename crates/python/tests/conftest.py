"""The small models of the repository, and the program whose answers are compared."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import blip2

GOLDEN = Path(os.environ.get("BLIP2_GOLDEN", Path(__file__).parents[3] / "tests/golden")) / "hf"


def folders(architecture: str) -> list[Path]:
    """The models whose `architectures` end like that."""
    configs = sorted(GOLDEN.glob("*/config.json"))
    names = {config.parent: json.loads(config.read_text())["architectures"] for config in configs}
    return [folder for folder, (name, *_) in names.items() if name.endswith(architecture)]


WRITERS = folders("ForConditionalGeneration")
MATCHERS = folders("ForImageTextRetrieval")


def pictures(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.png"))
    assert len(found) > 1, f"{folder} has no pictures"
    return found


def named(folder: Path) -> str:
    return folder.name


def positions(folder: Path) -> int | None:
    """The most tokens that the language model in `folder` can read; none where positions are relative."""
    text = json.loads((folder / "config.json").read_text())["text_config"]
    return None if text["model_type"] == "t5" else text["max_position_embeddings"]


@pytest.fixture(params=WRITERS, ids=named, scope="session")
def writer(request) -> blip2.Model:
    """A model that writes; its `name` is its folder."""
    return blip2.load(request.param, device="flex")


@pytest.fixture(params=MATCHERS, ids=named, scope="session")
def matcher(request) -> blip2.Model:
    """A model that matches."""
    return blip2.load(request.param, device="flex")


@pytest.fixture(scope="session")
def endless() -> blip2.Model:
    """A model whose texts have no longest: of an encoder-decoder family, whose positions are relative."""
    folder = next(folder for folder in WRITERS if positions(folder) is None)
    return blip2.load(folder, device="flex")


@pytest.fixture
def picture(writer) -> Path:
    return pictures(Path(writer.name))[0]


def by_program(command: str, folder: str, *arguments: str | Path) -> list[dict]:
    """What `blip2` writes with `--json`."""
    program = os.environ.get("BLIP2_PROGRAM")
    if program is None:
        pytest.skip("BLIP2_PROGRAM names no program to compare with")
    line = [program, command, "--model", folder, "--device", "flex", *map(str, arguments), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
