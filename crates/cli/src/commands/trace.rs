//! `blip2 trace`

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use blip2_core::weights::write_safetensors;
use clap::Args;

use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::{output, progress};

const EXAMPLES: &str = "\
Example:
  blip2 trace --model runs/demo picture.png --out trace.safetensors

What the file holds:
  pixel_values [1, 3, height, width]
  vision       [1, patches, encoder width], features of the frozen encoder, normalised for the Q-Former
  qformer      [1, queries, width], query states
and, where stage 2 was trained,
  projected    [1, queries, hidden], the soft prompt
  logits       [1, places, vocabulary], of what may follow each query and each token of the prompt, or, with a language
               model of encoder and decoder, the start of its text";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Trace {
    #[command(flatten)]
    model: ModelArguments,
    /// A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF)
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Text behind the soft prompt [default: the model's own prompt for captions]
    #[arg(long, value_name = "T")]
    prompt: Option<String>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    reading: PictureArguments,
}

impl Trace {
    pub(crate) fn run(self) -> Result<()> {
        let model = self.model.load()?;
        let picture = self.reading.open(&self.image)?;
        let prompt = self.prompt.as_deref().unwrap_or_else(|| model.caption_prompt());
        let spinner = progress::spinner("tracing");
        let tensors = model.trace(&picture, prompt);
        spinner.finish_and_clear();
        let tensors = tensors?;
        write_safetensors(&self.out, &tensors, HashMap::new())?;
        for (name, data) in &tensors {
            output::line(format_args!("{name} {:?}", data.shape().to_vec()))?;
        }
        output::line(format_args!("written to {}", named(&self.out)))
    }
}
