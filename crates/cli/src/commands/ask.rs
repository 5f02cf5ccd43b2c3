//! `blip2 ask`

use std::path::PathBuf;

use anyhow::Result;
use blip2::Finding;
use clap::Args;
use serde::Serialize;

use crate::generation::GenerationArguments;
use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::safety::{Place, SafetyArguments};
use crate::{output, progress, safety};

const EXAMPLES: &str = "\
Examples:
  blip2 ask --model runs/demo picture.png 'what is above the bicycle?'
  blip2 ask --model runs/demo picture.png 'how many apples are there?' --json

With --json: image, question, text, ids (of the new tokens alone), score; or, of an answer or a question that --safety keeps
back, image, question and filtered (with its category), and of a question error as well.";

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
    #[command(flatten)]
    safety: SafetyArguments,
}

#[derive(Serialize)]
struct Record<'a> {
    image: String,
    question: &'a str,
    #[serde(flatten)]
    came: Came,
}

/// What came of the question.
#[derive(Serialize)]
#[serde(untagged)]
enum Came {
    Answer(blip2::Written),
    Withheld { filtered: Finding },
    Refused { error: String, filtered: Finding },
}

impl Ask {
    pub(crate) fn run(self) -> Result<()> {
        self.generation.check("ask", 1);
        let mut safety = self.safety.open()?;
        if let Some(filtered) = safety.find(Place::Prompt, &self.question) {
            let refused = safety::refused(&filtered);
            if self.json {
                let error = refused.to_string();
                output::json(&self.record(Came::Refused { error, filtered }))?;
            }
            return Err(refused);
        }
        let model = self.model.load()?;
        let settings = self.generation.settings(model.answer_settings(), Some(1));
        let picture = self.reading.open(&self.image)?;
        let spinner = progress::spinner("answering");
        let answers = model.ask(&[picture], std::slice::from_ref(&self.question), &settings);
        spinner.finish_and_clear();
        for written in answers? {
            let found = safety.find(Place::Text, &written.text);
            if let Some(finding) = &found {
                safety::withheld(&named(&self.image), finding);
            }
            match (self.json, found) {
                (true, None) => output::json(&self.record(Came::Answer(written)))?,
                (true, Some(filtered)) => output::json(&self.record(Came::Withheld { filtered }))?,
                (false, None) => output::line(written.text)?,
                (false, Some(_)) => {}
            }
        }
        Ok(())
    }

    fn record(&self, came: Came) -> Record<'_> {
        Record {
            image: named(&self.image),
            question: &self.question,
            came,
        }
    }
}
