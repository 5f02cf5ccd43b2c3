"""Training steps of stage 2 on stored features: LAVIS's Blip2OPT and Blip2T5 around language models of random weights, or
transformers' parts around one of the size of OPT-2.7B.

BERT's word pieces stand for the language models' own: both sides read the same ids.
"""

import importlib

import torch

from captions import VOCABULARY, captions


def build(language_models, batch, image_tokens, image_width, precision="bf16"):
    if language_models == ["opt_2.7b"]:
        import parts

        features = torch.randn(batch, image_tokens, image_width)
        return parts.step(parts.Stage2(image_width, parts.opt_2_7b()), lambda: features, batch, precision)
    import original

    original.offline(image_width, dropout=0.0)
    steps = [step(name, batch, image_tokens, image_width, precision) for name in language_models]

    def run():
        for step in steps:
            step()

    return run


def words():
    """BERT's word pieces, with a token for the line break as well, which ends a caption of OPT."""
    from transformers import BertTokenizer

    class Words(BertTokenizer):
        def _tokenize(self, text):
            return super()._tokenize(text) or ["."]

    return Words(VOCABULARY)


def step(language_model, batch, image_tokens, image_width, precision):
    import original

    model = {"opt_125m": opt, "flan_t5_base": t5}[language_model]()
    if precision == "f32":
        # LAVIS keeps T5 in bfloat16 by itself.
        model.float()
    model.train()
    texts = captions(batch)
    samples = {
        "image": torch.randn(batch, image_tokens, image_width),
        "text_input": texts if language_model == "opt_125m" else [""] * batch,
        "text_output": texts,
    }
    return original.step(model, samples, precision)


def opt():
    module = importlib.import_module("lavis.models.blip2_models.blip2_opt")
    config = module.OPTConfig(hidden_size=768, num_hidden_layers=12, ffn_dim=3072, num_attention_heads=12, dropout=0.0)
    given(module, "AutoTokenizer", lambda *_, **__: words())
    given(module, "OPTForCausalLM", lambda *_, **__: module.OPTForCausalLM(config).to(torch.bfloat16))
    return module.Blip2OPT()


def t5():
    module = importlib.import_module("lavis.models.blip2_models.blip2_t5")
    from transformers import T5Config

    config = T5Config(
        vocab_size=32128,
        d_model=768,
        d_ff=2048,
        d_kv=64,
        num_layers=12,
        num_heads=12,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    given(module, "T5TokenizerFast", lambda *_, **__: words())
    given(module, "T5Config", lambda *_, **__: config)
    given(module, "T5ForConditionalGeneration", lambda *_, **__: module.T5ForConditionalGeneration(config))
    return module.Blip2T5()


def given(module, name, make):
    """Lets `module.name.from_pretrained` make what is wanted instead of fetching it."""
    getattr(module, name).from_pretrained = make
