//! CapFilt as BLIP-2 does it (section 3.4): captions of a picture are drawn by nucleus sampling, ranked by image-text similarity
//! together with those that it came with, and the best are kept.

mod blip;
mod clip;
mod selection;
mod whole;

use std::path::Path;

use blip2_data::pixels::RgbImage;
use blip2_generation::GenerationConfig;
use burn::tensor::Device;
use serde::Deserialize;

use crate::hugging_face::CONFIG;
use crate::streams::digest;
use crate::usage::read_json;
use crate::{Blip2, Blip2Error, Registry, locate};

pub use selection::{Candidate, Kept, Origin, best, candidates};

/// Writes captions of a picture.
pub trait Captioner {
    /// As many texts about `picture` as `settings` ask for. Where these name no end tokens, the model's own end a text.
    ///
    /// # Errors
    /// [`Blip2Error`] where the picture cannot be used, or the model cannot write.
    fn write(&self, picture: &RgbImage, settings: &GenerationConfig) -> Result<Vec<String>, Blip2Error>;
}

/// Writes nothing: pictures keep their own captions, ranked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Captioner for Silent {
    fn write(&self, _: &RgbImage, _: &GenerationConfig) -> Result<Vec<String>, Blip2Error> {
        Ok(Vec::new())
    }
}

/// Tells how well texts belong to a picture.
pub trait Ranker {
    /// The cosine of `picture` with each of `texts`, -1 to 1.
    ///
    /// # Errors
    /// [`Blip2Error`] where picture or texts cannot be used, or a cosine is no number.
    fn scores(&self, picture: &RgbImage, texts: &[String]) -> Result<Vec<f64>, Blip2Error>;
}

/// How many captions are drawn and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Captions drawn for a picture, at least 1 but with [`Silent`].
    pub number: usize,
    /// Captions kept of them and the picture's own, at least 1.
    pub keep: usize,
    /// Draw from the likeliest tokens that together reach this probability.
    pub top_p: f32,
    /// Most tokens of a caption.
    pub max_new_tokens: usize,
    /// Decides, with the key of a picture, what is drawn for it.
    pub seed: u64,
}

/// The paper's, and LAVIS's length of a caption.
impl Default for Settings {
    fn default() -> Self {
        Self {
            number: 10,
            keep: 2,
            top_p: 0.9,
            max_new_tokens: 30,
            seed: 0,
        }
    }
}

impl Settings {
    /// How the picture called `key` is captioned: its draws depend on nothing but the seed, the key and the picture.
    fn of(&self, key: &str) -> GenerationConfig {
        GenerationConfig {
            sample: true,
            num_beams: 1,
            num_return_sequences: self.number,
            top_p: self.top_p,
            top_k: 0,
            max_new_tokens: self.max_new_tokens,
            min_new_tokens: 1,
            seed: digest(&[&self.seed.to_le_bytes(), key.as_bytes()]),
            ..GenerationConfig::default()
        }
    }
}

/// The captions to keep of the picture called `key`, best first, of those in `web` that it came with and those that `captioner`
/// writes. Fewer than asked for where there are not as many different ones. A picture is a batch of its own: what stands beside it
/// in a data set changes not a digit.
///
/// # Errors
/// As for [`Captioner::write`] and [`Ranker::scores`].
pub fn filter(
    (captioner, ranker): (&dyn Captioner, &dyn Ranker),
    settings: &Settings,
    (key, picture): (&str, &RgbImage),
    web: &[String],
) -> Result<Vec<Kept>, Blip2Error> {
    let written = captioner.write(picture, &settings.of(key))?;
    let candidates = candidates(web, &written);
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = candidates.iter().map(|one| one.text.clone()).collect();
    let scores = ranker.scores(picture, &texts)?;
    Ok(best(candidates, &scores, settings.keep))
}

/// The captioner in `folder`: BLIP's (`BlipForConditionalGeneration`), or any model that [`Blip2::from_pretrained_with`]
/// loads. Of the latter the language model writes where stage 2 was trained, else the Q-Former.
///
/// # Errors
/// [`Blip2Error`] with the file at fault, or where the model was not trained to write.
pub fn open_captioner(
    folder: &Path,
    home: &Path,
    device: &Device,
    registry: &Registry,
) -> Result<Box<dyn Captioner>, Blip2Error> {
    let folder = locate(folder, None)?;
    Ok(match model_type(&folder)?.as_deref() {
        Some("blip") => Box::new(blip::BlipCaptioner::open(&folder, device)?),
        _ => Box::new(whole::ByBlip2::captioner(Blip2::from_pretrained_with(
            &folder, home, device, registry,
        )?)?),
    })
}

/// The ranker in `folder`: CLIP (`CLIPModel`), or any model that [`Blip2::from_pretrained_with`] loads with what stage 1 trained,
/// by its contrastive embeddings.
///
/// # Errors
/// [`Blip2Error`] with the file at fault, or where the model was not trained to compare.
pub fn open_ranker(
    folder: &Path,
    home: &Path,
    device: &Device,
    registry: &Registry,
) -> Result<Box<dyn Ranker>, Blip2Error> {
    let folder = locate(folder, None)?;
    Ok(match model_type(&folder)?.as_deref() {
        Some("clip") => Box::new(clip::ClipRanker::open(&folder, device)?),
        _ => Box::new(whole::ByBlip2::ranker(Blip2::from_pretrained_with(
            &folder, home, device, registry,
        )?)?),
    })
}

/// What `transformers` calls the kind of model in `folder`, where it wrote it.
fn model_type(folder: &Path) -> Result<Option<String>, Blip2Error> {
    #[derive(Deserialize)]
    struct Family {
        model_type: Option<String>,
    }
    let file = folder.join(CONFIG);
    if !file.is_file() {
        return Ok(None);
    }
    let family: Family = read_json(&file)?;
    Ok(family.model_type)
}
