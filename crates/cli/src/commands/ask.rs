//! `blip2 ask`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::generation::GenerationArguments;
use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 ask --model runs/demo picture.png 'what is above the bicycle?'
  blip2 ask --model runs/demo picture.png 'how many apples are there?' --json

With --json: image, question, text, ids (of the new tokens alone), score.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ask {
    #[command(flatten)]
    model: ModelArguments,
    /// A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF)
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// A question about it; it is put into the model's own question prompt
    #[arg(value_name = "QUESTION", allow_hyphen_values = true)]
    question: String,
    /// Write a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: PictureArguments,
    #[command(flatten)]
    generation: GenerationArguments,
}

#[derive(Serialize)]
struct Record {
    image: String,
    question: String,
    #[serde(flatten)]
    written: blip2::Written,
}

impl Ask {
    pub(crate) fn run(self) -> Result<()> {
        self.generation.check("ask", 1);
        let model = self.model.load()?;
        let settings = self.generation.settings(model.answer_settings(), Some(1));
        let picture = self.reading.open(&self.image)?;
        let spinner = progress::spinner("answering");
        let answers = model.ask(&[picture], std::slice::from_ref(&self.question), &settings);
        spinner.finish_and_clear();
        for written in answers? {
            if self.json {
                output::json(&Record {
                    image: named(&self.image),
                    question: self.question.clone(),
                    written,
                })?;
            } else {
                output::line(written.text)?;
            }
        }
        Ok(())
    }
}
