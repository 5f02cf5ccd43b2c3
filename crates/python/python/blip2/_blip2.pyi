"""Types of what is written in Rust; its words are in the docstrings there."""

import os
from collections.abc import Sequence
from typing import Literal, TypeAlias, final, overload

import numpy
import numpy.typing
from PIL.Image import Image
from typing_extensions import Unpack

from .options import GenerationOptions

_Array: TypeAlias = numpy.typing.NDArray[numpy.uint8]
_Picture: TypeAlias = str | os.PathLike[str] | bytes | bytearray | _Array | Image
_Pictures: TypeAlias = list[_Picture] | list[str] | list[Image] | list[_Array] | tuple[_Picture, ...]
_Writer: TypeAlias = Literal["language_model", "qformer"]
_Template: TypeAlias = Literal["dialogue", "instruction", "qwen", "gemma"]

__all__ = ["Chat", "Match", "Model", "Stream", "Text", "__version__", "load"]
__version__: str

def load(
    model: str | os.PathLike[str],
    *,
    device: Literal["auto", "flex", "cuda", "wgpu", "libtorch"] = "auto",
    dtype: Literal["auto", "f32", "bf16", "int8", "int4"] = "auto",
    download: bool = False,
    revision: str | None = None,
    exif: bool = True,
    max_pixels: int = ...,
) -> Model: ...
@final
class Text:
    def __new__(cls, text: str, ids: Sequence[int], score: float) -> Text: ...
    @property
    def text(self) -> str: ...
    @property
    def ids(self) -> list[int]: ...
    @property
    def score(self) -> float: ...
    def __hash__(self) -> int: ...
    def __format__(self, specification: str, /) -> str: ...
    def __reduce__(self) -> tuple[type[Text], tuple[str, list[int], float]]: ...

@final
class Match:
    def __new__(cls, itm_probability: float, itc: float) -> Match: ...
    @property
    def itm_probability(self) -> float: ...
    @property
    def itc(self) -> float: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Match], tuple[float, float]]: ...

@final
class Stream:
    def __iter__(self) -> Stream: ...
    def __next__(self) -> str: ...
    def result(self) -> Text: ...
    def close(self) -> None: ...

@final
class Chat:
    @property
    def history(self) -> list[tuple[str, str]]: ...
    @overload
    def ask(
        self, question: str, *, stream: Literal[False] = False, **options: Unpack[GenerationOptions]
    ) -> Text: ...
    @overload
    def ask(
        self, question: str, *, stream: Literal[True], **options: Unpack[GenerationOptions]
    ) -> Stream: ...
    def look_at(self, image: _Picture) -> None: ...
    def reset(self) -> None: ...

@final
class Model:
    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @overload
    def caption(
        self,
        images: _Picture,
        prompt: str | None = None,
        *,
        by: _Writer = "language_model",
        batch_size: int = 8,
        num_return_sequences: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> Text: ...
    @overload
    def caption(
        self,
        images: _Picture,
        prompt: str | None = None,
        *,
        by: _Writer = "language_model",
        batch_size: int = 8,
        num_return_sequences: int,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> list[Text]: ...
    @overload
    def caption(
        self,
        images: _Pictures,
        prompt: str | list[str] | None = None,
        *,
        by: _Writer = "language_model",
        batch_size: int = 8,
        num_return_sequences: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> list[Text]: ...
    @overload
    def caption(
        self,
        images: _Pictures,
        prompt: str | list[str] | None = None,
        *,
        by: _Writer = "language_model",
        batch_size: int = 8,
        num_return_sequences: int,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> list[list[Text]]: ...
    @overload
    def caption(
        self,
        images: _Picture,
        prompt: str | None = None,
        *,
        by: _Writer = "language_model",
        batch_size: int = 8,
        num_return_sequences: None = None,
        stream: Literal[True],
        **options: Unpack[GenerationOptions],
    ) -> Stream: ...
    @overload
    def ask(
        self,
        images: _Picture,
        question: str,
        *,
        batch_size: int = 8,
        num_return_sequences: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> Text: ...
    @overload
    def ask(
        self,
        images: _Picture,
        question: str,
        *,
        batch_size: int = 8,
        num_return_sequences: int,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> list[Text]: ...
    @overload
    def ask(
        self,
        images: _Pictures,
        question: str | list[str],
        *,
        batch_size: int = 8,
        num_return_sequences: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> list[Text]: ...
    @overload
    def ask(
        self,
        images: _Pictures,
        question: str | list[str],
        *,
        batch_size: int = 8,
        num_return_sequences: int,
        stream: Literal[False] = False,
        **options: Unpack[GenerationOptions],
    ) -> list[list[Text]]: ...
    @overload
    def ask(
        self,
        images: _Picture,
        question: str,
        *,
        batch_size: int = 8,
        num_return_sequences: None = None,
        stream: Literal[True],
        **options: Unpack[GenerationOptions],
    ) -> Stream: ...
    @overload
    def match(self, image: _Picture, text: str) -> Match: ...
    @overload
    def match(self, image: _Picture, text: list[str]) -> list[Match]: ...
    def embed(
        self,
        images: _Picture | _Pictures | None = None,
        text: str | list[str] | None = None,
        *,
        only: str | list[str] | None = None,
        batch_size: int = 8,
    ) -> dict[str, numpy.typing.NDArray[numpy.float32]]: ...
    def chat(self, image: _Picture | None = None, *, template: _Template | None = None) -> Chat: ...
