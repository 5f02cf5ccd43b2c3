//! `blip2 inspect`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blip2::{BRIDGE, CONFIG, REPRESENTATION, model_folder, read_config};
use blip2_core::weights::{SafetensorsStore, TensorStore, WeightError, open_any};
use clap::Args;
use serde::Serialize;

use crate::hub::HubArguments;
use crate::model::named;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  blip2 inspect runs/demo                  a run or model folder
  blip2 inspect smollm2.gguf               a GGUF, ONNX, safetensors or `torch.save` file
  blip2 inspect flan-t5 --json             a Hugging Face folder
  blip2 inspect Salesforce/blip2-opt-2.7b  such a folder in the local Hugging Face cache

GGUF tensors are listed as they are read: as f32, whatever they are stored in.
With --json, one object a tensor (file, name, dtype, shape), then one a file (file, tensors, values).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// Model folder, run folder, Hugging Face folder or name in its cache, or weight file
    #[arg(value_name = "DIR")]
    path: PathBuf,
    #[command(flatten)]
    hub: HubArguments,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TensorRecord<'a> {
    file: &'a str,
    name: &'a str,
    dtype: &'a str,
    shape: &'a [usize],
}

#[derive(Serialize)]
struct TotalRecord<'a> {
    file: &'a str,
    tensors: usize,
    values: usize,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<()> {
        let path = self.hub.folder(&self.path)?;
        let Ok(folder) = model_folder(&path) else {
            return self.list(open(&path)?.as_ref());
        };
        let config = read_config(&folder)?;
        if !self.json {
            output::line(format_args!("{}:", named(&folder.join(CONFIG))))?;
            output::line(serde_json::to_string_pretty(&config)?)?;
        }
        for file in [REPRESENTATION, BRIDGE].map(|name| folder.join(name)) {
            if file.exists() {
                self.list(&SafetensorsStore::open(&file)?)?;
            }
        }
        Ok(())
    }

    fn list(&self, store: &dyn TensorStore) -> Result<()> {
        let file = store.label();
        let longest = store.tensors().keys().map(String::len).max().unwrap_or(0);
        if !self.json {
            output::line(format_args!("{file}:"))?;
        }
        let mut values = 0;
        for (name, info) in store.tensors() {
            let dtype = format!("{:?}", info.dtype).to_lowercase();
            values += info.shape.iter().product::<usize>();
            if self.json {
                output::json(&TensorRecord {
                    file: &file,
                    name,
                    dtype: &dtype,
                    shape: &info.shape,
                })?;
            } else {
                output::line(format_args!("  {name:longest$}  {dtype:4}  {:?}", info.shape))?;
            }
        }
        let tensors = store.tensors().len();
        if self.json {
            output::json(&TotalRecord {
                file: &file,
                tensors,
                values,
            })
        } else {
            output::line(format_args!("  {tensors} tensors, {values} values"))
        }
    }
}

/// Opens weights as what their content, or else their name, says.
fn open(path: &Path) -> Result<Box<dyn TensorStore>> {
    match open_any(path) {
        Err(error @ WeightError::NoWeights { .. }) => Err(error)
            .with_context(|| format!("{} holds neither `{CONFIG}` nor `model/{CONFIG}`", named(path))),
        opened => Ok(opened?),
    }
}
