"""The same folder, from the start of the process to the first token about a picture: only what is opened is timed."""

import generate


def build(precision="bf16"):
    return generate.build(tokens=1, precision=precision)
