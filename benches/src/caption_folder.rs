//! A folder of pictures, captioned in batches by the folder of the size of blip2-opt-2.7b.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use blip2::{Blip2, CaptionRequest, CaptionTask, DecodeOptions, GenerationConfig, Writer, open_picture};
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
        let request = |entry: std::io::Result<fs::DirEntry>| {
            Ok(CaptionRequest {
                file: entry?.path(),
                prompt: String::new(),
            })
        };
        let mut requests = entries.map(request).collect::<Result<Vec<_>>>()?;
        requests.sort_by(|one, other| one.file.cmp(&other.file));
        ensure!(
            requests.len() == self.pictures,
            "{} holds {} pictures, not {}",
            folder.display(),
            requests.len(),
            self.pictures
        );
        let folder = home.join("blip2-opt-2.7b-random");
        let model = Blip2::from_pretrained(&folder, &home, self.weights.plan(device))?;
        let settings = GenerationConfig {
            max_new_tokens: self.tokens,
            min_new_tokens: self.tokens,
            num_beams: 1,
            ..model.caption_settings().clone()
        };
        let run = move || {
            let task = CaptionTask {
                writer: Writer::LanguageModel,
                settings: &settings,
                batch: self.batch,
                open: &|file: &Path| open_picture(file, DecodeOptions::as_stored()),
            };
            model.caption_files(&requests, &task, |captions| {
                for caption in captions {
                    let written: usize = caption?.iter().map(|text| text.ids.len()).sum();
                    ensure!(
                        written == self.tokens,
                        "{written} tokens were written, not {}",
                        self.tokens
                    );
                }
                Ok(())
            })
        };
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(run),
        })
    }
}
