"""Writes what the configuration classes of `transformers` hold by themselves, which `save_pretrained` of 4.x leaves out of a file.

    pip install transformers==5.23.0            # 4.47.1 holds the same: run it with `--check`
    python tests/peer/config_defaults.py crates/blip2/tests/data/config-defaults.json [--check]

One object a `model_type`, sub-configurations included, without keys that say nothing (`null`) or belong to no model.
`--check` compares instead of writing, with what both versions know, and names each key that differs.
"""

import argparse
import json
import sys
from pathlib import Path

import transformers as hf

CLASSES = [
    "Blip2Config", "InstructBlipConfig", "OPTConfig", "T5Config", "LlamaConfig", "CLIPConfig", "CLIPVisionConfig",
    "Qwen2Config", "SiglipConfig", "SiglipVisionConfig", "Dinov2Config", "BlipConfig", "Blip2VisionConfig", "InstructBlipVisionConfig",
    "BlipVisionConfig", "MistralConfig", "Qwen3Config",
]
# What every configuration of `transformers` has, whatever the model.
COMMON = set(hf.PretrainedConfig().to_dict()) - {"bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"}


def said(value):
    """`value` without keys that say nothing or belong to no model."""
    if not isinstance(value, dict):
        return value
    kept = {key: said(inner) for key, inner in value.items() if inner is not None}
    return {key: inner for key, inner in kept.items() if key == "model_type" or key not in COMMON}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    configs = [getattr(hf, name)().to_dict() for name in CLASSES]
    defaults = {config["model_type"]: said(config) for config in configs}
    if not arguments.check:
        arguments.file.write_text(json.dumps(defaults, indent=1, sort_keys=True) + "\n")
        return
    recorded = json.loads(arguments.file.read_text())
    differing = [name for kind in recorded for name in differences(recorded[kind], defaults[kind], kind)]
    print("\n".join(differing) or f"transformers {hf.__version__} holds the same")
    sys.exit(bool(differing))


def differences(recorded, now, name):
    if isinstance(recorded, dict) and isinstance(now, dict):
        both = recorded.keys() & now.keys()
        return [line for key in sorted(both) for line in differences(recorded[key], now[key], f"{name}.{key}")]
    return [] if recorded == now else [f"{name}: {recorded} in the file, {now} in transformers {hf.__version__}"]


if __name__ == "__main__":
    main()
