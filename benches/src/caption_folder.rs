//! A folder of pictures, captioned in batches by the folder of the size of blip2-opt-2.7b.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use blip2::{Blip2, DecodeOptions, GenerationConfig, open_picture};
use burn::tensor::Device;
use serde::Deserialize;

use crate::captions::home;
use crate::frozen::Weights;
use crate::workload::Workload;

/// How the pictures are captioned.
#[derive(Deserialize)]
pub(crate) struct CaptionFolder {
    /// As many as the folder has.
    pictures: usize,
    /// Looked at together.
    batch: usize,
    /// That are written of each, no fewer and no more.
    tokens: usize,
    #[serde(rename = "precision")]
    weights: Weights,
}

impl CaptionFolder {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let home = home()?.join("peer");
        let folder = home.join("pictures");
        let absent = || format!("{} is made by `cargo xtask bench --setup`", folder.display());
        let entries = fs::read_dir(&folder).with_context(absent)?;
        let mut files = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<PathBuf>>>()?;
        files.sort();
        ensure!(
            files.len() == self.pictures,
            "{} holds {} pictures, not {}",
            folder.display(),
            files.len(),
            self.pictures
        );
        let model = Blip2::from_pretrained_packed(
            &home.join("blip2-opt-2.7b-random"),
            &home,
            device,
            self.weights.packing(),
        )?;
        let settings = GenerationConfig {
            max_new_tokens: self.tokens,
            min_new_tokens: self.tokens,
            num_beams: 1,
            ..model.caption_settings().clone()
        };
        let run = move || {
            for batch in files.chunks(self.batch) {
                let pictures = batch
                    .iter()
                    .map(|file| open_picture(file, DecodeOptions::as_stored()))
                    .collect::<Result<Vec<_>, _>>()?;
                let prompts = vec![String::new(); pictures.len()];
                for text in model.caption(&pictures, &prompts, &settings)? {
                    ensure!(
                        text.ids.len() == self.tokens,
                        "{} tokens were written, not {}",
                        text.ids.len(),
                        self.tokens
                    );
                }
            }
            Ok(())
        };
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(run),
        })
    }
}
