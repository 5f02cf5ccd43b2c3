//! `blip2 attend`

mod sheet;

use std::path::PathBuf;

use anyhow::{Context, Result};
use blip2::{Looks, Stage, WordLooks};
use clap::{Args, ValueEnum};
use image::ImageFormat;
use serde::Serialize;

use self::sheet::Sheet;
use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 attend --model runs/demo picture.png --out heat.png
  blip2 attend --model Salesforce/blip2-itm-vit-g picture.jpg --text 'a dog on a beach' --out heat.png
  blip2 attend --model runs/demo picture.png --text 'a fox above a pizza' --json > weights.jsonl

The sheet shows the picture under what the queries take of each patch in the last layer that reads it, mean over heads: clear where
they look, dark where they do not. With a text and a model that stage 1 trained, below that what speaks for a match, GradCAM
as LAVIS has it: attention times the positive part of its gradient of the match's logit, for the text as a whole and for each word.

With --json, one object a line, weights row by row of the grid of patches:
  each layer that reads the picture  image, text, stage, layer, grid, queries: [[weight...]...]
  what speaks for the text           image, text, layer, grid, itm_probability, queries
  what speaks for each word          image, text, layer, grid, word, weights";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Attend {
    #[command(flatten)]
    model: ModelArguments,
    /// A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF)
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// A text that stands beside the queries, and is to match
    #[arg(long, value_name = "T")]
    text: Option<String>,
    /// Whose queries [default: those in front of the language model, where it was trained; with a text those that match]
    #[arg(long, value_enum)]
    stage: Option<StageChoice>,
    /// Layer whose looks are weighted by what they are worth to a match, from 0 [default: the first in the second half that reads
    /// the picture, as LAVIS has it]
    #[arg(long, value_name = "N", requires = "text")]
    layer: Option<usize>,
    /// Draw the sheet into this PNG file
    #[arg(long, value_name = "FILE", required_unless_present = "json")]
    out: Option<PathBuf>,
    /// Write the weights as one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: PictureArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum StageChoice {
    /// That which matches pictures and texts
    #[value(name = "1")]
    First,
    /// That in front of the language model
    #[value(name = "2")]
    Second,
}

/// What all records begin with.
#[derive(Serialize)]
struct Record<'a, Content: Serialize> {
    image: String,
    text: Option<&'a str>,
    grid: [usize; 2],
    layer: usize,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
struct OfQueries<'a> {
    stage: Stage,
    queries: &'a [Vec<f32>],
}

#[derive(Serialize)]
struct OfText<'a> {
    itm_probability: f64,
    queries: &'a [Vec<f32>],
}

impl Attend {
    pub(crate) fn run(self) -> Result<()> {
        let model = self.model.load()?;
        let picture = self.reading.open(&self.image)?;
        let stage = self.stage.map(|stage| match stage {
            StageChoice::First => Stage::First,
            StageChoice::Second => Stage::Second,
        });
        let text = self.text.as_deref();
        let spinner = progress::spinner("looking");
        let looks = model.looks(&picture, text, stage);
        let words = text
            .filter(|_| self.layer.is_some() || model.has_representation())
            .map(|text| model.word_looks(&picture, text, self.layer));
        spinner.finish_and_clear();
        let (looks, words) = (looks?, words.transpose()?);
        if self.json {
            self.write(&looks, words.as_ref())?;
        }
        let Some(out) = &self.out else { return Ok(()) };
        let sheet = Sheet::new(&picture).of(&looks, words.as_ref());
        sheet
            .save_with_format(out, ImageFormat::Png)
            .with_context(|| format!("cannot write {}", named(out)))?;
        match self.json {
            true => Ok(()),
            false => output::line(format_args!("written to {}", named(out))),
        }
    }

    fn write(&self, looks: &Looks, words: Option<&WordLooks>) -> Result<()> {
        for look in &looks.layers {
            let queries = OfQueries {
                stage: looks.stage,
                queries: &look.queries,
            };
            output::json(&self.record(looks.grid, look.layer, queries))?;
        }
        let Some(words) = words else { return Ok(()) };
        let text = OfText {
            itm_probability: words.itm_probability,
            queries: &words.queries,
        };
        output::json(&self.record(words.grid, words.layer, text))?;
        for word in &words.words {
            output::json(&self.record(words.grid, words.layer, word))?;
        }
        Ok(())
    }

    fn record<Content: Serialize>(
        &self,
        grid: [usize; 2],
        layer: usize,
        content: Content,
    ) -> Record<'_, Content> {
        Record {
            image: named(&self.image),
            text: self.text.as_deref(),
            grid,
            layer,
            content,
        }
    }
}
