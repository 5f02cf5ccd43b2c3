//! The model that a command asks, and the pictures that it is asked about.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use blip2::{Blip2, LoadPlan, Packing, PackingChoice, home, model_folder};
use blip2_mini::registry;
use clap::{Args, ValueEnum};
use indicatif::DecimalBytes;
use walkdir::WalkDir;

use crate::device::{CHOICE, DeviceChoice};
use crate::hub::HubArguments;
use crate::progress;

#[derive(Args)]
pub(crate) struct ModelArguments {
    /// Model folder, run folder of a training run, folder written by `transformers`, or the name of one on the hub, which the
    /// local Hugging Face cache holds (see `blip2 pull`)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    hub: HubArguments,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Number format of the frozen models
    #[arg(long, value_enum, default_value_t = NumberFormat::Auto)]
    dtype: NumberFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum NumberFormat {
    /// As they are stored: bf16 for a file of half precision, else f32; f32 on a GPU
    Auto,
    /// Single precision
    F32,
    /// 16 bits a number of the linear layers, products in bfloat16
    Bf16,
    /// 9 bits a number of the linear layers, products in bfloat16
    Int8,
    /// 5 bits a number of the linear layers, products in bfloat16
    Int4,
}

impl From<NumberFormat> for blip2::NumberFormat {
    fn from(format: NumberFormat) -> Self {
        match format {
            NumberFormat::Auto => Self::Stored,
            NumberFormat::F32 => Self::F32,
            NumberFormat::Bf16 => Self::Packed(Packing::Bf16),
            NumberFormat::Int8 => Self::Packed(Packing::Int8),
            NumberFormat::Int4 => Self::Packed(Packing::Int4),
        }
    }
}

impl ModelArguments {
    pub(crate) fn load(&self) -> Result<Blip2> {
        let folder = self.hub.folder(&self.model)?;
        let device = self.device.open()?;
        let home = home()?;
        let PackingChoice { packing, stored } =
            blip2::NumberFormat::from(self.dtype).choose(&folder, &home, &device)?;
        if let Some(weights) = stored {
            say(packing, weights.bytes(packing));
        }
        let spinner = progress::spinner("loading the model");
        let plan = LoadPlan::from(&device).packed(packing);
        let model = Blip2::from_pretrained_with(&folder, &home, plan, &registry());
        spinner.finish_and_clear();
        Ok(model?)
    }

    /// The model as it was named.
    pub(crate) fn name(&self) -> String {
        named(&self.model)
    }

    /// The last part of the name: nobody else need know where it lies.
    pub(crate) fn short_name(&self) -> String {
        match self.model.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "blip2".to_owned(),
        }
    }

    /// What a change of the model's weights changes: the number format, and names, sizes and times of the files in its folder.
    pub(crate) fn files(&self) -> Result<String> {
        let folder = self.hub.folder(&self.model)?;
        let folder = model_folder(&folder).unwrap_or(folder);
        let mut files = Vec::new();
        for entry in WalkDir::new(&folder)
            .follow_links(true)
            .max_depth(1)
            .sort_by_file_name()
        {
            let entry = entry.with_context(|| format!("cannot look into {}", named(&folder)))?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                let time = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_secs();
                let name = entry.path().strip_prefix(&folder).unwrap_or(entry.path());
                files.push(format!("{} {} {time}", named(name), metadata.len()));
            }
        }
        let format = self.dtype.to_possible_value();
        let format = format.expect("no number format is hidden");
        Ok(format!("{}; {}", format.get_name(), files.join(", ")))
    }
}

/// Names the number format that was chosen, and what it costs.
fn say(packing: Option<Packing>, [vision, language]: [u64; 2]) {
    let format = packing.map_or("f32", |_| "bf16");
    let language = match language {
        0 => String::new(),
        bytes => format!(" and {} more for the language model", DecimalBytes(bytes)),
    };
    tracing::info!(
        target: CHOICE,
        "dtype {format}, chosen by the weights' own; they take about {}{language}",
        DecimalBytes(vision)
    );
}

/// A file as messages and records name it.
pub(crate) fn named(file: &Path) -> String {
    file.display().to_string()
}
