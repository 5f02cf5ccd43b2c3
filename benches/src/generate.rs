//! Captions by the folder of the size of blip2-opt-2.7b.

use anyhow::{Context, Result};
use blip2::{Blip2, GenerationConfig, open_picture};
use burn::tensor::Device;
use serde::Deserialize;

use crate::captions::home;
use crate::workload::{Needs, Workload};

/// How one picture is captioned.
#[derive(Deserialize)]
pub(crate) struct Generate {
    /// That are written, no fewer and no more.
    tokens: usize,
    #[serde(default = "one")]
    beams: usize,
}

fn one() -> usize {
    1
}

impl Generate {
    /// Just enough to need all of the model.
    pub(crate) fn first_token() -> Self {
        Self { tokens: 1, beams: 1 }
    }

    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let home = home()?.join("peer");
        let folder = home.join("blip2-opt-2.7b-random");
        let model = Blip2::from_pretrained(&folder, &home, device)
            .with_context(|| format!("{} is made by `cargo xtask bench --setup`", folder.display()))?;
        let picture = open_picture(&home.join("picture.jpg"))?;
        let settings = GenerationConfig {
            max_new_tokens: self.tokens,
            min_new_tokens: self.tokens,
            num_beams: self.beams,
            ..model.caption_settings().clone()
        };
        let run = move || {
            let written = model.caption(std::slice::from_ref(&picture), &[String::new()], &settings)?;
            let written = written.first().map_or(0, |text| text.ids.len());
            anyhow::ensure!(
                written == self.tokens,
                "{written} tokens were written, not {}",
                self.tokens
            );
            Ok(())
        };
        Ok(Workload {
            needs: Needs::default(),
            run: Box::new(run),
        })
    }
}
