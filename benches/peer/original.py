"""LAVIS's own models, built without what they fetch: sizes instead of checkpoints, given features instead of an encoder."""

import importlib.util
import logging
import sys
import tempfile
import types
import warnings
from pathlib import Path

import torch
from transformers import BertTokenizer

from captions import VOCABULARY

warnings.filterwarnings("ignore", category=FutureWarning)


def bare(name):
    """The package without what its __init__ imports: data sets, video readers, all other models."""
    package = types.ModuleType(name)
    package.__path__ = [str(ROOT.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = package
    return package


ROOT = Path(importlib.util.find_spec("lavis").submodule_search_locations[0])
for name in ("lavis", "lavis.common", "lavis.models.blip_models", "lavis.models.blip2_models"):
    bare(name)
models = bare("lavis.models")

from lavis.models import base_model  # noqa: E402

models.BaseModel = base_model.BaseModel

from lavis.models.blip2_models.blip2 import Blip2Base, LayerNorm  # noqa: E402
from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel  # noqa: E402


class Features(torch.nn.Identity):
    """Stands for the frozen encoder: its features are given."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width


def offline(image_width, dropout):
    """Lets the models of LAVIS be built at BERT-base's sizes with random weights, on features of `image_width`."""

    def init_tokenizer(cls):
        tokenizer = BertTokenizer(VOCABULARY)
        tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        return tokenizer

    def init_vision_encoder(cls, *_):
        return Features(image_width), LayerNorm(image_width)

    def init_qformer(cls, num_query_token, vision_width, cross_attention_freq=2):
        config = BertConfig(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
        config.encoder_width = vision_width
        config.add_cross_attention = True
        config.cross_attention_freq = cross_attention_freq
        config.query_length = num_query_token
        queries = torch.zeros(1, num_query_token, config.hidden_size)
        return BertLMHeadModel(config), torch.nn.Parameter(queries.normal_(0.0, config.initializer_range))

    Blip2Base.init_tokenizer = classmethod(init_tokenizer)
    Blip2Base.init_vision_encoder = classmethod(init_vision_encoder)
    Blip2Base.init_Qformer = classmethod(init_qformer)
    logging.disable(logging.WARNING)
    alone()


def alone():
    """A process group of one: the models ask for their rank."""
    if not torch.distributed.is_initialized():
        store = Path(tempfile.mkdtemp()) / "store"
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)


def step(model, samples, precision):
    """One step of training with LAVIS's optimiser: decay on matrices only."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            small = parameter.ndim < 2 or "bias" in name or "ln" in name or "bn" in name
            (plain if small else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98))

    def run():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(samples)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if not loss.isfinite():
            raise RuntimeError(f"the loss is {loss.item()}")

    return run
