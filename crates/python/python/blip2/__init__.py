"""BLIP-2: images and language, in Rust.

    import blip2
    model = blip2.load("Salesforce/blip2-opt-2.7b", dtype="int8")
    print(model.caption("a.jpg"))
    print(model.ask("a.jpg", "what is on the left?"))
"""

from ._blip2 import Chat, Match, Model, Stream, Text, __version__, load
from .errors import (
    Blip2Error,
    DeviceError,
    DownloadError,
    InputError,
    NotFoundError,
    UntrainedError,
)
from .options import GenerationOptions

__all__ = [
    "Blip2Error",
    "Chat",
    "DeviceError",
    "DownloadError",
    "GenerationOptions",
    "InputError",
    "Match",
    "Model",
    "NotFoundError",
    "Stream",
    "Text",
    "UntrainedError",
    "__version__",
    "load",
]
