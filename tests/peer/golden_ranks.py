"""Makes the `lavis-ranks` folder of a golden folder: stage 1 by LAVIS's own code on several real processes, with a small model,
random weights and drawn sizes.

    cargo xtask bench --setup
    BLIP2_HOME=HOME PYTHONPATH=HOME/peer/lavis HOME/peer/venv/bin/python tests/peer/golden_ranks.py OUT --seed 3
    cargo xtask parity --golden OUT

where HOME is the cache folder (`golden_lavis.py` says more). Each world size sees the same batches, weights and draws. The copy in
`tests/golden` was made with `--seed 5 --small --runs eva-w2 clip-w4`.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

import golden_lavis
from golden_lavis import HERE, WORDS, Maker
from lavis.models.blip2_models import blip2_qformer
from lavis.models.blip2_models.blip2_qformer import Blip2Qformer

OPTIMIZER = {"name": "AdamW", "lr": 1e-4, "betas": [0.9, 0.98], "eps": 1e-8, "weight_decay": 0.05}
STEPS = 3
LOSSES = ["loss_itc", "loss_itm", "loss_lm", "loss"]


class Ranks(Maker):
    """Sizes, captions and images of all runs."""

    def __init__(self, out: Path, seed: int, small: bool):
        self.folder, self.seed = out / "lavis-ranks", seed
        self.folder.mkdir(parents=True, exist_ok=True)
        draw = random.Random(seed)
        self.sizes = golden_lavis.draw_sizes(draw)
        for unused in ("opt", "t5"):
            del self.sizes[unused]
        if small:
            self.sizes["vit"] |= {"width": 8, "layers": 2, "heads": 2}
            self.sizes["qformer"] |= {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
            self.sizes["qformer"] |= {"intermediate_size": 12, "cross_attention_frequency": 2}
            self.sizes["qformer"] |= {"max_position_embeddings": 16}
            self.sizes |= {"image_size": 8, "patch_size": 4, "embed_dim": 8, "max_txt_len": 12}
        self.batch = 4 * draw.randint(2, 2 if small else 4)
        words = WORDS.split()
        captions = [[self.caption(draw, words) for _ in range(self.batch)] for _ in range(STEPS)]
        self.sizes |= {"global_batch": self.batch, "steps": STEPS, "captions": captions}
        self.sizes |= {"optimizer": OPTIMIZER, "label_smoothing": {"itc": 0.1, "itm": 0.0, "lm": 0.1}}
        shutil.copy(HERE.parent / "golden" / "lavis" / "bert-vocab.txt", self.folder / "bert-vocab.txt")
        (self.folder / "config.json").write_text(json.dumps(self.sizes, indent=1))

    @staticmethod
    def caption(draw: random.Random, words: list) -> str:
        return " ".join(draw.choices(words, k=draw.randint(2, 9)))

    def model(self, kind: str) -> Blip2Qformer:
        self.offline(kind)
        model = Blip2Qformer(
            num_query_token=self.sizes["num_query_tokens"],
            embed_dim=self.sizes["embed_dim"],
            max_txt_len=self.sizes["max_txt_len"],
        )
        self.numbers = torch.Generator().manual_seed(self.seed)
        self.randomise(model)
        return model.eval()

    def images(self, step: int) -> torch.Tensor:
        size = self.sizes["image_size"]
        numbers = torch.Generator().manual_seed(1000 * self.seed + step)
        return torch.randn(self.batch, 3, size, size, generator=numbers)

    def run(self, kind: str, world: int):
        folder = self.folder / f"{kind}-w{world}"
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as meeting:
            processes.spawn(rank_main, (world, kind, self, folder, Path(meeting)), nprocs=world)
            ranks = [json.loads((Path(meeting) / f"{rank}.json").read_text()) for rank in range(world)]
        steps = []
        for step in range(STEPS):
            rows = [rank["steps"][step] for rank in ranks]
            mean = {name: sum(row[name] for row in rows) / world for name in LOSSES}
            steps.append({"ranks": rows, "mean": mean})
        report = {"world_size": world, "batch_per_rank": self.batch // world, "vit": kind, "steps": steps}
        (folder / "report.json").write_text(json.dumps(report | ranks[0]["of_all"]))


class Recorder:
    """What a step computes on the way: arguments of the collectives and of the draws, outputs of layers."""

    def __init__(self, model: Blip2Qformer, maker: Ranks, rank: int, pairs: int):
        self.gathered, self.weights, self.drawn, self.outputs = [], [], [], {}
        self.maker, self.first, self.pairs, self.step = maker, rank * pairs, pairs, 0
        gather = blip2_qformer.concat_all_gather

        def keep(tensor):
            self.gathered.append(tensor)
            return gather(tensor)

        blip2_qformer.concat_all_gather = keep
        self.multinomial, torch.multinomial = torch.multinomial, self.draw
        for name in ("visual_encoder", "ln_vision", "itm_head"):
            layer = getattr(model, name)
            layer.register_forward_hook(lambda *call, name=name: self.outputs.__setitem__(name, call[2]))

    def begin(self, step: int):
        self.step = step
        for kept in (self.gathered, self.weights, self.drawn):
            kept.clear()

    def draw(self, weights, count):
        """One generator a step, direction and global row: the same draws on any number of ranks."""
        direction, row = divmod(len(self.drawn), self.pairs)
        seed = ((self.maker.seed * 100 + self.step) * 2 + direction) * 1000 + self.first + row
        self.weights.append(weights)
        self.drawn.append(self.multinomial(weights, count, generator=torch.Generator().manual_seed(seed)))
        return self.drawn[-1]

    def tensors(self) -> dict:
        image_feats, text_feat, input_ids, attention_mask = self.gathered
        weights, drawn = torch.stack(self.weights), torch.cat(self.drawn)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "vit_features": self.outputs["visual_encoder"],
            "image_embeds": self.outputs["ln_vision"],
            "image_feats": image_feats,
            "text_feat": text_feat,
            "weights_t2i": weights[: self.pairs],
            "weights_i2t": weights[self.pairs :],
            "neg_image_idx": drawn[: self.pairs],
            "neg_text_idx": drawn[self.pairs :],
            "itm_logits": self.outputs["itm_head"].mean(dim=1),
        }


def groups(model: Blip2Qformer) -> dict:
    """The decay of each trainable tensor as the runner of 1.0.2 chooses it."""

    def decay(name, value):
        small = value.ndim < 2 or "bias" in name or "ln" in name or "bn" in name
        return 0.0 if small else OPTIMIZER["weight_decay"]

    return {name: decay(name, value) for name, value in model.named_parameters() if value.requires_grad}


def save(path: Path, tensors: dict):
    plain = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    golden_lavis.save_file(plain, path)


def rank_main(rank: int, world: int, kind: str, maker: Ranks, folder: Path, meeting: Path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting / 'store'}", rank=rank, world_size=world)
    model = maker.model(kind)
    if rank == 0:
        save(folder / "weights.safetensors", model.state_dict())
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    pairs = maker.batch // world
    recorder = Recorder(model, maker, rank, pairs)
    decay, parameters = groups(model), dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [parameters[name]], "weight_decay": value} for name, value in decay.items()],
        lr=OPTIMIZER["lr"],
        betas=OPTIMIZER["betas"],
        eps=OPTIMIZER["eps"],
    )
    rows, tensors, steps = slice(rank * pairs, (rank + 1) * pairs), {}, []
    for step in range(STEPS):
        recorder.begin(step)
        image, captions = maker.images(step)[rows], maker.sizes["captions"][step][rows]
        kept = {"image": image, "temp": model.temp.detach().clone()}
        optimizer.zero_grad()
        output = parallel({"image": image, "text_input": captions})
        output["loss"].backward()
        if rank == 0 and step == 0:
            save(folder / "grads.safetensors", {name: parameters[name].grad for name in decay})
        losses = {name: output[name] for name in LOSSES}
        kept |= recorder.tensors() | losses
        tensors |= {f"s{step}.{name}": value.detach().clone() for name, value in kept.items()}
        draws = {name: kept[name].tolist() for name in ("neg_image_idx", "neg_text_idx")}
        tokens = int(kept["attention_mask"].sum()) - pairs
        numbers = {name: value.item() for name, value in losses.items()}
        steps.append(numbers | {"lm_tokens": tokens, "captions": captions} | draws)
        optimizer.step()
    save(folder / f"rank{rank}_io.safetensors", tensors)
    if rank == 0:
        frozen = {f"visual_encoder.{name}" for name, _ in model.visual_encoder.named_parameters()}
        trained = {name: value for name, value in model.state_dict().items() if name not in frozen}
        save(folder / f"after_{STEPS}_steps.safetensors", trained)
    of_all = {"trainable_tensors": len(decay), "trainable": list(decay), "decay": decay}
    (meeting / f"{rank}.json").write_text(json.dumps({"steps": steps, "of_all": of_all}))
    dist.destroy_process_group()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path, help="the golden folder to make")
    arguments.add_argument("--seed", type=int, default=3)
    arguments.add_argument("--small", action="store_true", help="small enough for a repository")
    every = [f"{kind}-w{world}" for kind in ("eva", "clip") for world in (1, 2, 4)]
    arguments.add_argument("--runs", nargs="+", choices=every, default=every)
    chosen = arguments.parse_args()
    make = Ranks(chosen.out, chosen.seed, chosen.small)
    for run in chosen.runs:
        kind, world = run.split("-w")
        make.run(kind, int(world))


if __name__ == "__main__":
    main()
