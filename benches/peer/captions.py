"""The captions that both sides learn from: captions.txt, one of 6 to 20 words a line."""

import itertools
import os
from pathlib import Path

HOME = Path(os.environ["BLIP2_HOME"])
VOCABULARY = HOME / "assets/bert/vocab.txt"


def captions(count, tokens=None):
    """`count` captions. With `tokens`, each is repeated or cut to the words that, with BERT's two special tokens, make so
    many; every word is one token."""
    lines = Path(__file__).parent.parent.joinpath("captions.txt").read_text().splitlines()
    chosen = itertools.islice(itertools.cycle(lines), count)
    if tokens is None:
        return list(chosen)
    return [" ".join(itertools.islice(itertools.cycle(line.split()), tokens - 2)) for line in chosen]
