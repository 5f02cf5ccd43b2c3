//! The model that a command asks, and the pictures that it is asked about.

use std::path::{Path, PathBuf};

use anyhow::Result;
use blip2::{Blip2, Packing, RgbImage, home, open_picture};
use clap::{Args, ValueEnum};

use crate::device::DeviceChoice;
use crate::hub::HubArguments;
use crate::progress;

#[derive(Args)]
pub(crate) struct ModelArguments {
    /// Model folder, run folder of a training run, folder written by `transformers`, or the name of one in the local Hugging
    /// Face cache
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    hub: HubArguments,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Number format of the frozen models
    #[arg(long, value_enum, default_value_t = NumberFormat::F32)]
    dtype: NumberFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum NumberFormat {
    /// Single precision
    F32,
    /// 16 bits a number of the linear layers, products in bfloat16
    Bf16,
    /// 9 bits a number of the linear layers, products in bfloat16
    Int8,
    /// 5 bits a number of the linear layers, products in bfloat16
    Int4,
}

impl NumberFormat {
    fn packing(self) -> Option<Packing> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(Packing::Bf16),
            Self::Int8 => Some(Packing::Int8),
            Self::Int4 => Some(Packing::Int4),
        }
    }
}

impl ModelArguments {
    pub(crate) fn load(&self) -> Result<Blip2> {
        let folder = self.hub.folder(&self.model)?;
        let device = self.device.open()?;
        let spinner = progress::spinner("loading the model");
        let model = Blip2::from_pretrained_packed(&folder, &home()?, &device, self.dtype.packing());
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
