"""Trains two tiny SentencePiece models and records how the fast tokenizers of `transformers` cut texts with them.

    pip install transformers==5.23.0 sentencepiece protobuf     # and once more with transformers==4.47.1
    python tests/peer/sentencepiece_models.py crates/llm-adapters/tests/data/sentencepiece

Writes `t5/spiece.model` (unigram, with rewrites of its own), `llama/tokenizer.model` (byte pairs, every byte known), and
`cases.json`: texts, and the ids of each family with the special ids around them. Models that are there are kept: training breaks
ties at random. Each version records what it is right for. T5: version 5, which cuts at all white space, as the published
`tokenizer.json` of FlanT5 does. Llama: version 4 as it is (`llama`: it keeps the spaces in front of a text, as SentencePiece does), and
version 5, which never does (`llama_not_legacy`: with `"legacy": false` version 4 does the same).
"""

import argparse
import json
import random
from pathlib import Path

import sentencepiece
import transformers

WORDS = "a the of cat dog red blue photo picture two three on under beside bicycle street house café naïve Straße fine".split()
# What a character is rewritten to.
REWRITES = {"ﬁ": "fi", "½": "1/2", "№": "No", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "Ａ": "A", "e\u0301": "é"}
LETTERS = "abcdeéñ ßﬁ½№ \t\n日本🙂.,!?<>/▁  \u00a0\u3000ABC012"
TEXTS = [
    "", "a photo of", " a photo of", "a photo of ", "two  cats", "  two   cats  ", "a\tb\nc", "\n", "ﬁne ½ №", "café naïve",
    "日本語 text", "🙂 emoji 👩\u200d👧", "a</s>b", "</s>", "<pad>", "<unk> x", "<extra_id_0> a <extra_id_1>", "a<extra_id_5>b",
    "<extra_id_99>", "<extra_id_100>", "x <s> y", "<s>x", "zero\u200bwidth", "Question: how many cats are there? Answer:",
    "▁under▁score", "a▁b", "a\r\nb", "Ａ full", "e\u0301 combined", "İ", "\x00nul", "...!!!", "1234 56", "A.B.C",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    train(arguments.out)
    generator = random.Random(3)
    texts = TEXTS + ["".join(generator.choices(LETTERS, k=generator.randint(1, 18))) for _ in range(240)]
    file = arguments.out / "cases.json"
    cases = json.loads(file.read_text()) if file.exists() else {}
    cases["texts"] = texts
    modern = int(transformers.__version__.split(".")[0]) >= 5
    for family, key in [("t5", "t5"), ("llama", "llama_not_legacy")] if modern else [("llama", "llama")]:
        tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.out / family)
        assert tokenizer.is_fast
        cases[key] = [tokenizer(text)["input_ids"] for text in texts]
    file.write_text(json.dumps(cases, ensure_ascii=False) + "\n")


def train(out: Path):
    generator = random.Random(1)
    lines = [" ".join(generator.choices(WORDS, k=generator.randint(3, 12))) for _ in range(3000)]
    # A line of the rules: code points, a tab, code points.
    points = lambda text: " ".join(f"{ord(letter):X}" for letter in text)
    rules = out / "rules.tsv"
    for family, options in {
        "t5": dict(
            model_type="unigram", vocab_size=90, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_tsv=str(rules),
        ),
        "llama": dict(
            model_type="bpe", vocab_size=420, byte_fallback=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
            normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        ),
    }.items():
        folder = out / family
        model = folder / {"t5": "spiece.model", "llama": "tokenizer.model"}[family]
        if model.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        rules.write_text("".join(f"{points(old)}\t{points(new)}\n" for old, new in REWRITES.items()))
        prefix = folder / "trained"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=str(prefix), hard_vocab_limit=False, **options
        )
        prefix.with_suffix(".model").rename(model)
        prefix.with_suffix(".vocab").unlink()
        rules.unlink()
        (folder / "config.json").write_text(json.dumps({"model_type": family}) + "\n")
        names = {"t5": "T5Tokenizer", "llama": "LlamaTokenizer"}
        settings = {"tokenizer_class": names[family]} | ({"add_bos_token": True} if family == "llama" else {})
        (folder / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")


if __name__ == "__main__":
    main()
