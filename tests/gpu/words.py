"""Writes a vocabulary of BERT's kind, of BERT's size, in which every word of a file of captions is one token.

    python3 words.py CAPTIONS VOCABULARY

Stands for BERT's own where that is not at hand: both sides of the benchmark read the same ids, whatever they stand for.
"""

import sys
from pathlib import Path

ENTRIES = 30522
SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}


def main():
    captions, vocabulary = map(Path, sys.argv[1:])
    text = captions.read_text().lower()
    words = sorted({"".join(letter for letter in word if letter.isalnum()) for word in text.split()} - {""})
    entries = [SPECIAL.get(entry, f"[unused{entry}]") for entry in range(ENTRIES)]
    entries[1000 : 1000 + len(words)] = words
    entries[2000:2003] = [".", ",", "'"]
    vocabulary.write_text("\n".join(entries) + "\n")


if __name__ == "__main__":
    main()
