//! Batches of training views from webdataset shards.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use blip2_data::loader::{DataLoader, LoaderOptions, TrainView};
use blip2_data::mixture::{Mixing, Mixture, Part};
use blip2_data::pixels::ImageProcessor;
use blip2_data::sets::webdataset::{Rules, WebDataset};
use blip2_data::sets::{Cache, Dataset};
use serde::Deserialize;

use crate::captions::home;
use crate::workload::Workload;

/// Side of the views.
const SIDE: u32 = 224;

/// How the shards are read.
#[derive(Deserialize)]
pub(crate) struct Loader {
    /// Of all shards together.
    pictures: u64,
    /// Rows of a batch.
    batch: u64,
}

impl Loader {
    pub(crate) fn open(self) -> Result<Workload> {
        let home = home()?.join("peer");
        let folder = home.join("shards");
        let path = folder.to_str().context("the path of the shards is no UTF-8")?;
        let cache = Cache::new(home.join("indexes"), 1 << 30);
        let set = WebDataset::open("shards", path, cache, Rules::default())
            .context("the shards are made by `cargo xtask bench --setup`")?;
        ensure!(
            set.len() == self.pictures,
            "{path} holds {} pictures, not {}",
            set.len(),
            self.pictures
        );
        let mixture = Arc::new(Mixture::new(vec![Part::new(Arc::new(set))], Mixing::new(1))?);
        let options = LoaderOptions {
            threads: 1,
            ..LoaderOptions::new(self.batch)
        };
        let view = Arc::new(TrainView::pretraining(SIDE));
        let mut loader = DataLoader::new(mixture, view, &options, 0)?;
        let processor = ImageProcessor::clip_square(SIDE);
        let run = move || {
            for _ in 0..self.pictures / self.batch {
                std::hint::black_box(loader.next_batch()?.pixels(&processor));
            }
            Ok(())
        };
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(run),
        })
    }
}
