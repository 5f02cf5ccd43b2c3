//! `blip2 embed`

use std::path::PathBuf;

use anyhow::Result;
use blip2::{Blip2, OpenedBatch, join_vectors};
use blip2_core::weights::write_safetensors;
use burn::tensor::TensorData;
use clap::{Args, ValueEnum};

use crate::failures::{FailureArguments, Failures};
use crate::generation::at_least;
use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::{output, progress, wrong_usage};

const EXAMPLES: &str = "\
Examples:
  blip2 embed --model runs/demo *.png --mode image --out images.safetensors
  blip2 embed --model runs/demo --text 'a fox' 'a pizza' --mode text --out texts.safetensors
  blip2 embed --model runs/demo picture.png --text 'a fox above a pizza' --mode multimodal --out both.safetensors
  blip2 embed --model Salesforce/blip2-opt-2.7b *.jpg --mode image --only projected --out prompts.safetensors

What the file holds, as far as the model was trained for it:
  image       of stage 1 (demo, retrieval): image_embeds [images, queries, width],
              image_embeds_proj [images, queries, embedding] of unit length;
              of stage 2 (demo, OPT, FlanT5, InstructBLIP): vision [images, patches, encoder width], features of the encoder as
              the Q-Former reads them, qformer [images, queries, width], projected [images, queries, hidden], the soft prompt
  text        of stage 1: text_embeds [texts, tokens, width], text_mask [texts, tokens], text_embeds_proj [texts, embedding]
  multimodal  the first picture with the first text, and so on; of stage 1: multimodal_embeds [pairs, queries, width];
              of InstructBLIP: vision, qformer and projected as above, where the Q-Former has read the text
Rows stand in the order of the command line, without the pictures that cannot be used; `images` and `texts` of the file's
metadata name them, as JSON.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Embed {
    #[command(flatten)]
    model: ModelArguments,
    /// Pictures (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF)
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Texts
    #[arg(long, value_name = "T", num_args = 1..)]
    text: Vec<String>,
    /// What to embed
    #[arg(long, value_enum)]
    mode: Mode,
    /// Write these tensors alone
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Pictures that are looked at together
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 8, value_parser = at_least(1))]
    batch: usize,
    #[command(flatten)]
    failures: FailureArguments,
    #[command(flatten)]
    reading: PictureArguments,
}

/// What is embedded, row by row.
#[derive(Default)]
struct Rows {
    images: Vec<String>,
    texts: Vec<String>,
    tensors: Vec<(String, TensorData)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Pictures alone
    Image,
    /// Texts alone
    Text,
    /// Each picture with its text
    Multimodal,
}

impl Embed {
    pub(crate) fn run(self) -> Result<()> {
        self.check();
        let model = self.model.load()?;
        let mut failures = self.failures.among(self.images.len());
        let rows = match self.mode {
            Mode::Text => self.of_texts(&model)?,
            Mode::Image | Mode::Multimodal => self.of_pictures(&model, &mut failures)?,
        };
        if rows.tensors.is_empty() {
            return failures.verdict();
        }
        let names = [("images", &rows.images), ("texts", &rows.texts)]
            .map(|(key, names)| Ok((key.to_owned(), serde_json::to_string(names)?)));
        write_safetensors(
            &self.out,
            &rows.tensors,
            names.into_iter().collect::<Result<_>>()?,
        )?;
        for (name, data) in &rows.tensors {
            output::line(format_args!("{name} {:?}", data.shape().to_vec()))?;
        }
        output::line(format_args!("written to {}", named(&self.out)))?;
        failures.verdict()
    }

    /// Ends the program as wrongly used where mode, pictures and texts do not go together.
    fn check(&self) {
        let (images, texts) = (self.images.len(), self.text.len());
        let problem = match self.mode {
            Mode::Image if images == 0 || texts > 0 => "--mode image takes pictures and no --text",
            Mode::Text if texts == 0 || images > 0 => "--mode text takes --text and no pictures",
            Mode::Multimodal if images == 0 || images != texts => {
                "--mode multimodal takes one --text for each picture"
            }
            _ => return,
        };
        wrong_usage("embed", problem)
    }

    fn of_pictures(&self, model: &Blip2, failures: &mut Failures) -> Result<Rows> {
        let mut rows = Rows::default();
        let mut batches = Vec::new();
        let bar = progress::bar(self.images.len() as u64, "embedding");
        let mut number = 0;
        model.open_in_batches(
            &self.images,
            self.batch,
            &|path| self.reading.open(path),
            |OpenedBatch { pictures, opened }| {
                let first_text = rows.texts.len();
                for opened in opened {
                    match opened {
                        Ok(()) => {
                            rows.images.push(named(&self.images[number]));
                            rows.texts.extend(self.text.get(number).cloned());
                        }
                        Err(error) => bar.suspend(|| failures.note(error.into()))?,
                    }
                    number += 1;
                }
                if !pictures.is_empty() {
                    let texts = &rows.texts[first_text..];
                    batches.push(match self.mode {
                        Mode::Multimodal => model.vectors_of_pairs(&pictures, texts, &self.only)?,
                        Mode::Image | Mode::Text => model.vectors_of_pictures(&pictures, &self.only)?,
                    });
                }
                bar.set_position(number as u64);
                anyhow::Ok(())
            },
        )?;
        bar.finish_and_clear();
        rows.tensors = named_tensors(join_vectors(batches));
        Ok(rows)
    }

    fn of_texts(&self, model: &Blip2) -> Result<Rows> {
        Ok(Rows {
            texts: self.text.clone(),
            tensors: named_tensors(model.vectors_of_texts(&self.text, &self.only)?),
            ..Rows::default()
        })
    }
}

fn named_tensors(vectors: Vec<(&'static str, TensorData)>) -> Vec<(String, TensorData)> {
    let named = vectors.into_iter().map(|(name, data)| (name.to_owned(), data));
    named.collect()
}
