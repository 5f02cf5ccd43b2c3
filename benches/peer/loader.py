"""Batches of training views from webdataset shards, as LAVIS reads them: webdataset, Pillow, torchvision."""

import os
from pathlib import Path

import webdataset

from pixels import training_view


def build(pictures, batch):
    shards = sorted(str(shard) for shard in Path(os.environ["BLIP2_HOME"], "peer/shards").glob("*.tar"))
    samples = webdataset.DataPipeline(
        webdataset.SimpleShardList(shards),
        webdataset.tarfile_to_samples(),
        webdataset.shuffle(1000),
        webdataset.decode("pilrgb"),
        webdataset.to_tuple("jpg", "txt"),
        webdataset.map_tuple(training_view(), lambda text: text),
        webdataset.batched(batch),
    )

    def run():
        seen = sum(len(texts) for _, texts in samples)
        if seen != pictures:
            raise RuntimeError(f"{seen} pictures were seen, not {pictures}")

    return run
