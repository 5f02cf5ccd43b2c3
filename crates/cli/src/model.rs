//! The model that a command asks, and the pictures that it is asked about.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use blip2::{Blip2, RgbImage, home, open_picture};
use clap::{Args, ValueEnum};

use crate::device::DeviceChoice;
use crate::progress;

#[derive(Args)]
pub(crate) struct ModelArguments {
    /// Model folder, run folder of a training run, folder written by `transformers`, or the name of one in the local Hugging
    /// Face cache
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Number format of the frozen weights
    #[arg(long, value_enum, default_value_t = NumberFormat::F32)]
    dtype: NumberFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NumberFormat {
    F32,
    Bf16,
    Int8,
    Int4,
}

impl ModelArguments {
    pub(crate) fn load(&self) -> Result<Blip2> {
        if self.dtype != NumberFormat::F32 {
            let name = format!("{:?}", self.dtype).to_lowercase();
            bail!("`--dtype {name}` is not supported yet: weights are held as f32, leave the option out");
        }
        let device = self.device.open()?;
        let spinner = progress::spinner("loading the model");
        let model = Blip2::from_pretrained(&self.model, &home()?, &device);
        spinner.finish_and_clear();
        Ok(model?)
    }
}

/// The pictures in `files`.
pub(crate) fn open_pictures(files: &[PathBuf]) -> Result<Vec<RgbImage>> {
    files.iter().map(|file| Ok(open_picture(file)?)).collect()
}

/// A file as messages and records name it.
pub(crate) fn named(file: &Path) -> String {
    file.display().to_string()
}
