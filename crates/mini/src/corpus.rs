//! The scenes that a run trains on: drawn once, encoded once, and given out a batch a step.

use std::path::Path;

use blip2_data::Stream;
use blip2_data::features::{FeatureStore, FeatureWriter, content_key};
use blip2_data::pixels::RgbImage;
use blip2_trainer::{Observer, Prompts, Row, RowSource, TrainError, encode};
use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::epochs;
use crate::error::io;
use crate::pretrain::Frozen;
use crate::scenes::{Scene, SceneSet, Split};
use crate::{MiniError, MiniRecipe};

/// Pictures that go through the encoder at once.
const ENCODE_BATCH: usize = 32;
/// Neighbours that stay together in a batch: a scene and its variation.
const TOGETHER: usize = 2;

/// Training scenes with their features.
pub(crate) struct Corpus {
    pub(crate) scenes: Vec<Scene>,
    pub(crate) features: FeatureStore,
}

impl Corpus {
    /// Draws, encodes and stores the training scenes of `recipe` under `home`, or finds them stored.
    pub(crate) fn prepare(
        recipe: &MiniRecipe,
        home: &Path,
        frozen: &Frozen,
        observer: &dyn Observer,
    ) -> Result<Self, MiniError> {
        let set = SceneSet {
            seed: recipe.data.seed,
            split: Split::Train,
            repertoire: recipe.data.repertoire()?,
        };
        let scenes = draw(&set, recipe.data.training_scenes);
        let features = stored_features(recipe, home, frozen, &scenes, observer)?;
        Ok(Self { scenes, features })
    }

    /// The scenes of `step` (from 1): a function of seed and step. A scene and its variation come together, so that each is
    /// a hard negative of the other: among scenes drawn at random no batch ever asks which is left of which.
    fn batch(&self, seed: u64, batch: usize, step: u64) -> Vec<usize> {
        let units = self.scenes.len() / TOGETHER;
        epochs::batch(seed, units, batch / TOGETHER, step)
            .iter()
            .flat_map(|unit| unit * TOGETHER..(unit + 1) * TOGETHER)
            .collect()
    }

    pub(crate) fn row(&self, index: usize) -> Row {
        Row {
            index: index as u64,
            key: format!("scene {index}"),
            text: self.scenes[index].caption.clone(),
            ..Row::default()
        }
    }
}

/// A caption a scene.
pub(crate) struct Captions<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
}

impl RowSource for Captions<'_> {
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError> {
        let indices = self.corpus.batch(self.seed, self.batch, step);
        Ok(indices.into_iter().map(|index| self.corpus.row(index)).collect())
    }
}

/// Captions, and questions at a fixed share.
pub(crate) struct CaptionsAndQuestions<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    /// Share of rows that are questions.
    pub(crate) questions: f64,
    pub(crate) prompts: &'a Prompts<'a>,
}

impl RowSource for CaptionsAndQuestions<'_> {
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError> {
        let indices = self.corpus.batch(self.seed ^ 2, self.batch, step);
        let mut stream = Stream::new(self.seed, "stage 2 texts", step);
        let row = |index| {
            let (row, scene) = (self.corpus.row(index), &self.corpus.scenes[index]);
            if !stream.chance(self.questions as f32) || scene.questions.is_empty() {
                return row;
            }
            let question = stream.pick(&scene.questions);
            Row {
                prompt: Some(self.prompts.question(&question.question)),
                answers: true,
                text: question.answer.clone(),
                ..row
            }
        };
        Ok(indices.into_iter().map(row).collect())
    }
}

/// `count` scenes; every second one is a variation of the one before it, or another scene where there is none.
pub(crate) fn draw(set: &SceneSet, count: u64) -> Vec<Scene> {
    let scene = |index: u64| {
        let unit = index / TOGETHER as u64;
        match index % TOGETHER as u64 {
            0 => set.scene(unit),
            _ => set.variation(unit).unwrap_or_else(|| set.scene(count + unit)),
        }
    };
    (0..count).into_par_iter().map(scene).collect()
}

/// Drawn scenes and their features `[scenes, tokens, width]`.
pub(crate) fn encode_scenes(
    frozen: &Frozen,
    side: u32,
    scenes: &[Scene],
) -> Result<(Vec<RgbImage>, Tensor<3>), MiniError> {
    let artist = &frozen.artist;
    let pictures = scenes
        .par_iter()
        .map(|scene| artist.render(scene, side))
        .collect::<Result<Vec<RgbImage>, _>>()?;
    let features = encode(&frozen.encoder, &pictures, &frozen.device)?;
    Ok((pictures, features))
}

fn stored_features(
    recipe: &MiniRecipe,
    home: &Path,
    frozen: &Frozen,
    scenes: &[Scene],
    observer: &dyn Observer,
) -> Result<FeatureStore, MiniError> {
    let side = frozen.encoder.processor.width;
    // The scenes themselves are part of the key: another version of the generator draws other ones.
    let drawn: String = scenes.iter().map(|scene| format!("{scene:?}")).collect();
    let key = content_key(&[
        frozen.encoder_fingerprint.as_bytes(),
        format!("{:?}", recipe.encoder).as_bytes(),
        drawn.as_bytes(),
    ]);
    let folder = home.join("features");
    let path = folder.join(format!("{}.safetensors", &key[..16]));
    if path.exists() {
        match FeatureStore::open(&path, &key) {
            Ok(store) => return Ok(store),
            Err(error) => observer.note(&format!("stored features are computed anew: {error}")),
        }
    }
    std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    let side_pixels = side as usize;
    let tokens = frozen.encoder.encoder.tokens(side_pixels, side_pixels)?;
    let mut writer =
        FeatureWriter::create(&path, &key, scenes.len(), tokens, frozen.encoder.encoder.width())?;
    observer.phase("features", scenes.len() as u64);
    for (number, chunk) in scenes.chunks(ENCODE_BATCH).enumerate() {
        writer.push(encode_scenes(frozen, side, chunk)?.1)?;
        observer.step((number * ENCODE_BATCH + chunk.len()) as u64, "frozen encoder");
    }
    writer.finish()?;
    Ok(FeatureStore::open(&path, &key)?)
}
