"""Makes the `lavis` folder of a golden folder with LAVIS's own training code: small models, random weights, drawn sizes.

    cargo xtask bench --setup
    BLIP2_HOME=HOME PYTHONPATH=HOME/peer/lavis HOME/peer/venv/bin/python tests/peer/golden_lavis.py OUT --seed 3
    cargo xtask parity --golden OUT

where HOME is the cache folder, in which the setup puts LAVIS 1.0.2 with the packages of its time. Vocabularies are those of
`tests/golden/lavis`.
"""

import argparse
import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "benches" / "peer"))

import original  # noqa: E402  (lets LAVIS's packages be imported one by one)
from lavis.models import clip_vit, eva_vit  # noqa: E402
from lavis.models.blip2_models import blip2_opt, blip2_t5  # noqa: E402
from lavis.models.blip2_models.blip2 import Blip2Base, LayerNorm  # noqa: E402
from lavis.models.blip2_models.blip2_qformer import Blip2Qformer  # noqa: E402
from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import BertTokenizer, GPT2Tokenizer, OPTConfig, OPTForCausalLM, T5Config  # noqa: E402
from transformers import T5ForConditionalGeneration, T5TokenizerFast  # noqa: E402

VOCABULARIES = ["bert-vocab.txt", "opt-vocab.json", "opt-merges.txt", "t5-tokenizer.json"]
WORDS = "a dog runs on the beach two red apples wooden table man riding horse in snow an old clock tower under blue sky"
OPTIMIZER = {"lr": 1e-3, "betas": [0.9, 0.98], "eps": 1e-8, "weight_decay": 0.05}
STEPS = 8


def draw_sizes(draw: random.Random) -> dict:
    heads, vit_heads, text_heads = draw.choice([2, 3, 4]), draw.choice([2, 4]), draw.choice([2, 4])
    patch = draw.choice([4, 7, 8])
    width = text_heads * draw.choice([8, 10, 12])
    return {
        "image_size": patch * draw.randint(3, 5),
        "patch_size": patch,
        "vit": {
            "width": vit_heads * draw.choice([8, 10, 12]),
            "layers": draw.randint(2, 4),
            "heads": vit_heads,
            "eva": {"mlp_ratio": draw.choice([3.7, 4.3637]), "layer_norm_eps": draw.choice([1e-6, 1e-5])},
            "clip": {"mlp_ratio": 4, "layer_norm_eps": 1e-5},
        },
        "ln_vision_eps": draw.choice([1e-5, 1e-6, 1e-3]),
        "qformer": {
            "hidden_size": heads * draw.choice([8, 12, 16]),
            "num_hidden_layers": draw.randint(3, 5),
            "num_attention_heads": heads,
            "intermediate_size": draw.choice([40, 72, 96]),
            "max_position_embeddings": draw.choice([32, 64]),
            "layer_norm_eps": draw.choice([1e-12, 1e-6]),
            "hidden_act": "gelu",
            "cross_attention_frequency": draw.choice([1, 2, 3]),
            "dropout": 0.0,
        },
        "num_query_tokens": draw.randint(3, 9),
        "embed_dim": draw.choice([16, 24, 40]),
        "max_txt_len": draw.randint(12, 20),
        "opt": {
            "hidden_size": width,
            "num_hidden_layers": draw.randint(1, 3),
            "ffn_dim": draw.choice([48, 80]),
            "num_attention_heads": text_heads,
            "max_position_embeddings": draw.choice([64, 128]),
            "do_layer_norm_before": True,
            "bos_token_id": "</s>",
            "pad_token_id": "<pad>",
            "prompt": "",
        },
        "t5": {
            "d_model": width,
            "d_kv": draw.choice([6, 8]),
            "d_ff": draw.choice([48, 64]),
            "num_layers": draw.randint(2, 3),
            "num_decoder_layers": draw.randint(1, 2),
            "num_heads": text_heads,
            "feed_forward_proj": "gated-gelu",
            "dense_act_fn": "gelu",
            "relative_attention_num_buckets": draw.choice([16, 32]),
            "relative_attention_max_distance": 128,
            "tie_word_embeddings": False,
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": 1,
        },
    }


class Maker:
    def __init__(self, out: Path, seed: int):
        self.folder, self.draw = out / "lavis", random.Random(seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sizes = draw_sizes(self.draw)
        self.numbers = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        for name in VOCABULARIES:
            shutil.copy(HERE.parent / "golden" / "lavis" / name, self.folder / name)
        sizes, batch = self.sizes["image_size"], self.draw.randint(3, 6)
        self.image = torch.randn(batch, 3, sizes, sizes, generator=self.numbers)
        words = WORDS.split()
        self.captions = [" ".join(self.draw.choices(words, k=self.draw.randint(3, 8))) for _ in range(batch)]

    def file(self, name: str, tensors: dict):
        tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
        save_file(tensors, self.folder / f"{name}.safetensors")

    def randomise(self, model: torch.nn.Module):
        with torch.no_grad():
            for name, value in model.named_parameters():
                noise = torch.randn(value.shape, generator=self.numbers)
                if name == "temp":
                    value.fill_(0.07)
                elif value.dim() > 1:
                    scale = min(1.0, 1.4 / value[0].numel() ** 0.5)
                    # T5 does not scale its scores: queries of full size would leave one key a head, and gradients to chance.
                    value.copy_(noise * scale * (self.sizes["t5"]["d_kv"] ** -0.5 if name.endswith("Attention.q.weight") else 1))
                elif name.endswith("weight"):
                    value.copy_(1 + 0.1 * noise)
                else:
                    value.copy_(0.1 * noise)

    def encoder(self, kind: str):
        sizes = self.sizes["vit"]
        if kind == "eva":
            return eva_vit.VisionTransformer(
                img_size=self.sizes["image_size"],
                patch_size=self.sizes["patch_size"],
                use_mean_pooling=False,
                embed_dim=sizes["width"],
                depth=sizes["layers"],
                num_heads=sizes["heads"],
                mlp_ratio=sizes["eva"]["mlp_ratio"],
                qkv_bias=True,
                norm_layer=partial(torch.nn.LayerNorm, eps=sizes["eva"]["layer_norm_eps"]),
            )
        return clip_vit.VisionTransformer(
            self.sizes["image_size"], self.sizes["patch_size"], sizes["width"], sizes["layers"], sizes["heads"], False
        )

    def offline(self, kind: str):
        """Lets LAVIS's models be built at the drawn sizes."""
        sizes = self.sizes["qformer"]

        def tokenizer(cls):
            made = BertTokenizer(str(self.folder / "bert-vocab.txt"))
            made.add_special_tokens({"bos_token": "[DEC]"})
            return made

        def qformer(cls, num_query_token, vision_width, cross_attention_freq=None):
            config = BertConfig(
                vocab_size=len(tokenizer(cls)),
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                **{key: value for key, value in sizes.items() if key not in ("cross_attention_frequency", "dropout")},
            )
            config.encoder_width = vision_width
            config.add_cross_attention = True
            config.cross_attention_freq = sizes["cross_attention_frequency"]
            config.query_length = num_query_token
            return BertLMHeadModel(config), torch.nn.Parameter(torch.zeros(1, num_query_token, sizes["hidden_size"]))

        def vision(cls, *_):
            encoder = self.encoder(kind)
            return encoder, LayerNorm(encoder.num_features, eps=self.sizes["ln_vision_eps"])

        Blip2Base.init_tokenizer = classmethod(tokenizer)
        Blip2Base.init_Qformer = classmethod(qformer)
        Blip2Base.init_vision_encoder = classmethod(vision)

    def stage1(self, kind: str):
        self.offline(kind)
        length = self.sizes["max_txt_len"]
        model = Blip2Qformer(
            num_query_token=self.sizes["num_query_tokens"], embed_dim=self.sizes["embed_dim"], max_txt_len=length
        )
        self.randomise(model)
        model.eval()
        samples = {"image": self.image, "text_input": self.captions}
        self.file(f"stage1_{kind}_weights", model.state_dict())
        losses, negatives = record(model, samples)
        losses["loss"].backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
        touched = {name: value for name, value in gradients.items() if value is not None}
        self.file(f"stage1_{kind}_grads", touched)
        with torch.no_grad():
            text = model.tokenizer(
                self.captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
            )
            images = model.ln_vision(model.visual_encoder(self.image))
            ones = torch.ones(images.shape[:-1], dtype=torch.long)
            queries = model.query_tokens.expand(len(images), -1, -1)
            read = {"encoder_hidden_states": images, "encoder_attention_mask": ones, "return_dict": True}
            query_output = model.Qformer.bert(query_embeds=queries, **read).last_hidden_state
            alone = model.Qformer.bert(text.input_ids, attention_mask=text.attention_mask, return_dict=True)
            both = torch.cat([torch.ones(queries.shape[:-1], dtype=torch.long), text.attention_mask], dim=1)
            joint = model.Qformer.bert(text.input_ids, query_embeds=queries, attention_mask=both, **read)
            joint = model.itm_head(joint.last_hidden_state[:, : queries.shape[1]]).mean(dim=1)
        tensors = {"image": self.image, "input_ids": text.input_ids, "attention_mask": text.attention_mask}
        tensors |= {"image_embeds": images, "query_output": query_output, "text_output": alone.last_hidden_state}
        tensors |= {"itm_match_score": joint[:, 1], **losses, **negatives}
        self.file(f"stage1_{kind}_io", tensors)
        self.trajectory(kind, model, samples)
        frozen = sum(value.numel() for value in model.visual_encoder.parameters())
        params = sum(value.numel() for value in model.parameters())
        return {"params": params, "frozen": frozen, "grad_tensors": len(touched)}

    def trajectory(self, kind: str, model, samples):
        decayed, plain = [], []
        for name, value in model.named_parameters():
            if value.requires_grad:
                small = value.ndim < 2 or "bias" in name or "ln" in name or "bn" in name
                (plain if small else decayed).append(value)
        rate, decay = OPTIMIZER["lr"], OPTIMIZER["weight_decay"]
        groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=OPTIMIZER["betas"], eps=OPTIMIZER["eps"])
        steps = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses, negatives = record(model, samples)
            losses["loss"].backward()
            optimizer.step()
            names = {"itc": "loss_itc", "itm": "loss_itm", "itg": "loss_lm"}
            step = {short: losses[name].item() for short, name in names.items()}
            steps.append(step | {name: value.tolist() for name, value in negatives.items()})
        path = self.folder / f"stage1_{kind}_trajectory.json"
        path.write_text(json.dumps({"captions": self.captions, **OPTIMIZER, "steps": steps}, indent=1))
        frozen = {f"visual_encoder.{name}" for name, _ in model.visual_encoder.named_parameters()}
        trained = {name: value for name, value in model.state_dict().items() if name not in frozen}
        self.file(f"stage1_{kind}_after_{STEPS}_steps", trained)
        if kind == "eva":
            # The checkpoint is of the weights before these steps, as they stand in the file.
            from safetensors.torch import load_file

            first = load_file(self.folder / f"stage1_{kind}_weights.safetensors")
            state = {"model": {name: first[name] for name in trained}, "optimizer": {"state": {}}, "scaler": None}
            torch.save({**state, "config": {"run": {"seed": 42}}, "epoch": 3}, self.folder / f"stage1_{kind}.pth")

    def stage2(self, name: str, kind: str, model, samples: dict, texts: dict):
        self.randomise(model)
        model.eval()
        self.file(f"{name}_{kind}_weights", model.state_dict())
        loss = model(samples)["loss"]
        loss.backward()
        trained = {key: value.grad for key, value in model.named_parameters() if value.requires_grad}
        self.file(f"{name}_{kind}_grads", {key: value for key, value in trained.items() if value is not None})
        self.file(f"{name}_{kind}_io", {"image": self.image, "loss": loss, **texts})

    def opt(self, kind: str):
        self.offline(kind)
        path = {key: str(self.folder / f"opt-{key}") for key in ("vocab.json", "merges.txt")}
        end = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
        tokenizer = GPT2Tokenizer(path["vocab.json"], path["merges.txt"], add_bos_token=True, **end)
        others = ("bos_token_id", "pad_token_id", "prompt")
        sizes = {key: value for key, value in self.sizes["opt"].items() if key not in others}
        config = OPTConfig(
            **sizes,
            vocab_size=len(tokenizer),
            word_embed_proj_dim=sizes["hidden_size"],
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            dropout=0.0,
        )
        given(blip2_opt.AutoTokenizer, lambda *_, **__: tokenizer)
        given(blip2_opt.OPTForCausalLM, lambda *_, **__: OPTForCausalLM(config))
        length = self.sizes["max_txt_len"]
        model = blip2_opt.Blip2OPT(num_query_token=self.sizes["num_query_tokens"], max_txt_len=length)
        tokenizer.padding_side = "right"
        lines = [f"{caption}\n" for caption in self.captions]
        tokens = tokenizer(lines, return_tensors="pt", padding="longest", truncation=True, max_length=length)
        samples = {"image": self.image, "text_input": self.captions}
        texts = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        self.stage2("opt", kind, model, samples, texts)

    def t5(self, kind: str):
        self.offline(kind)
        tokenizer = T5TokenizerFast(tokenizer_file=str(self.folder / "t5-tokenizer.json"))
        config = T5Config(**self.sizes["t5"], vocab_size=len(tokenizer), dropout_rate=0.0)
        given(blip2_t5.T5TokenizerFast, lambda *_, **__: tokenizer)
        given(blip2_t5.T5Config, lambda *_, **__: config)
        given(blip2_t5.T5ForConditionalGeneration, lambda *_, **__: T5ForConditionalGeneration(config))
        length = self.sizes["max_txt_len"]
        model = blip2_t5.Blip2T5(num_query_token=self.sizes["num_query_tokens"], max_txt_len=length).float()
        cuts = [len(caption.split()) // 2 for caption in self.captions]
        before = [" ".join(caption.split()[:cut]) for caption, cut in zip(self.captions, cuts)]
        behind = [" ".join(caption.split()[cut:]) for caption, cut in zip(self.captions, cuts)]
        texts = {}
        for name, lines in (("prefix", before), ("suffix", behind)):
            tokens = tokenizer(lines, padding="longest", truncation=True, max_length=length, return_tensors="pt")
            texts |= {f"{name}_ids": tokens.input_ids, f"{name}_mask": tokens.attention_mask}
        samples = {"image": self.image, "text_input": before, "text_output": behind}
        self.stage2("t5", kind, model, samples, texts)


def given(owner, make):
    """Lets `owner.from_pretrained` make what is wanted instead of fetching it."""
    owner.from_pretrained = make


def record(model, samples) -> tuple[dict, dict]:
    """The losses of a step, and the negatives that it draws: one of `multinomial` a row, first images, then texts."""
    drawn, multinomial = [], torch.multinomial

    def keep(*arguments, **named):
        drawn.append(multinomial(*arguments, **named))
        return drawn[-1]

    torch.multinomial = keep
    try:
        output = model(samples)
    finally:
        torch.multinomial = multinomial
    drawn = torch.cat([index.flatten() for index in drawn])
    batch = len(samples["image"])
    assert len(drawn) == 2 * batch, "one negative image and one negative text a row"
    losses = {name: output[name] for name in ("loss", "loss_itc", "loss_itm", "loss_lm")}
    return losses, {"neg_image_idx": drawn[:batch], "neg_text_idx": drawn[batch:]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path, help="the golden folder to make")
    arguments.add_argument("--seed", type=int, default=3)
    chosen = arguments.parse_args()
    original.alone()
    make = Maker(chosen.out, chosen.seed)
    report = {}
    for kind in ("eva", "clip"):
        report[f"stage1_{kind}"] = make.stage1(kind)
        make.opt(kind)
        make.t5(kind)
    (make.folder / "config.json").write_text(json.dumps(make.sizes, indent=1))
    (make.folder / "report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
