//! `blip2 embed`

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use blip2::Blip2;
use blip2_core::weights::write_safetensors;
use burn::tensor::{Tensor, TensorData};
use clap::{Args, ValueEnum};

use crate::generation::at_least;
use crate::model::{ModelArguments, named, open_pictures};
use crate::{output, progress, wrong_usage};

const EXAMPLES: &str = "\
Examples:
  blip2 embed --model runs/demo *.png --mode image --out images.safetensors
  blip2 embed --model runs/demo --text 'a fox' 'a pizza' --mode text --out texts.safetensors
  blip2 embed --model runs/demo picture.png --text 'a fox above a pizza' --mode multimodal --out both.safetensors

What the file holds, in the order of the command line:
  image       image_embeds [images, queries, width], image_embeds_proj [images, queries, embedding] of unit length
  text        text_embeds [texts, tokens, width], text_mask [texts, tokens], text_embeds_proj [texts, embedding]
  multimodal  multimodal_embeds [pairs, queries, width]: the first picture with the first text, and so on";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Embed {
    #[command(flatten)]
    model: ModelArguments,
    /// Pictures (PNG, JPEG, WebP)
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Texts
    #[arg(long, value_name = "T", num_args = 1..)]
    text: Vec<String>,
    /// What to embed
    #[arg(long, value_enum)]
    mode: Mode,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Pictures that are looked at together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least(1))]
    batch_size: usize,
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
        let tensors = match self.mode {
            Mode::Image => self.images(&model)?,
            Mode::Text => texts(&model, &self.text)?,
            Mode::Multimodal => self.pairs(&model)?,
        };
        write_safetensors(&self.out, &tensors, HashMap::new())?;
        for (name, data) in &tensors {
            output::line(format_args!("{name} {:?}", data.shape().to_vec()))?;
        }
        output::line(format_args!("written to {}", named(&self.out)))
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

    fn images(&self, model: &Blip2) -> Result<Vec<(String, TensorData)>> {
        let (mut states, mut embeddings) = (Vec::new(), Vec::new());
        let bar = progress::bar(self.images.len() as u64, "embedding");
        for files in self.images.chunks(self.batch_size) {
            let embedded = model.embed_images(&open_pictures(files)?)?;
            states.push(embedded.states);
            embeddings.push(embedded.embeddings);
            bar.inc(files.len() as u64);
        }
        bar.finish_and_clear();
        Ok(vec![
            joined("image_embeds", states),
            joined("image_embeds_proj", embeddings),
        ])
    }

    fn pairs(&self, model: &Blip2) -> Result<Vec<(String, TensorData)>> {
        let mut states = Vec::new();
        let bar = progress::bar(self.images.len() as u64, "embedding");
        for (files, texts) in self
            .images
            .chunks(self.batch_size)
            .zip(self.text.chunks(self.batch_size))
        {
            states.push(model.embed_multimodal(&open_pictures(files)?, texts)?);
            bar.inc(files.len() as u64);
        }
        bar.finish_and_clear();
        Ok(vec![joined("multimodal_embeds", states)])
    }
}

fn texts(model: &Blip2, texts: &[String]) -> Result<Vec<(String, TensorData)>> {
    let embedded = model.embed_texts(texts)?;
    Ok(vec![
        joined("text_embeds", vec![embedded.states]),
        joined("text_mask", vec![embedded.mask]),
        joined("text_embeds_proj", vec![embedded.embeddings]),
    ])
}

fn joined<const D: usize>(name: &str, batches: Vec<Tensor<D>>) -> (String, TensorData) {
    (name.to_owned(), Tensor::cat(batches, 0).into_data())
}
