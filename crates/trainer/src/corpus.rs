//! The scenes that a run trains on: captions and questions as ids, and the frozen encoder's features, stored once.

use std::path::Path;

use blip2_data::features::{FeatureStore, FeatureWriter, content_key};
use blip2_data::loader::{Loader, Position};
use blip2_data::pixels::RgbImage;
use blip2_data::scenes::{Scene, SceneSet, Split};
use blip2_data::text::{BertTokenizer, Padding};
use blip2_qformer::TextBatch;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::checkpoint::io;
use crate::pretrain::Frozen;
use crate::{Observer, Recipe, TrainError};

/// Pictures that go through the encoder at once.
const ENCODE_BATCH: usize = 32;
/// Neighbours that stay together in a batch: a scene and its variation.
const TOGETHER: usize = 2;

/// Training scenes with their features.
pub(crate) struct Corpus {
    pub(crate) scenes: Vec<Scene>,
    /// Captions for the Q-Former, `[CLS]` to `[SEP]`.
    pub(crate) captions: Vec<Vec<u32>>,
    pub(crate) features: FeatureStore,
}

impl Corpus {
    /// Draws, encodes and stores the training scenes of `recipe` under `home`, or finds them stored.
    pub(crate) fn prepare(
        recipe: &Recipe,
        home: &Path,
        frozen: &Frozen,
        observer: &dyn Observer,
    ) -> Result<Self, TrainError> {
        let set = SceneSet {
            seed: recipe.data.seed,
            split: Split::Train,
            repertoire: recipe.data.repertoire()?,
        };
        let scenes = draw(&set, recipe.data.training_scenes);
        let captions = tokenise(
            &frozen.tokenizer,
            scenes.iter().map(|scene| scene.caption.as_str()),
            recipe.max_text_tokens,
        )?;
        let features = stored_features(recipe, home, frozen, &scenes, observer)?;
        Ok(Self {
            scenes,
            captions,
            features,
        })
    }

    /// The scenes of `step` (from 1): a function of seed and step. A scene and its variation come together, so that each is
    /// a hard negative of the other: among scenes drawn at random no batch ever asks which is left of which.
    pub(crate) fn batch(&self, seed: u64, batch: usize, step: u64) -> Result<Vec<usize>, TrainError> {
        let (units, taken) = (self.scenes.len() / TOGETHER, batch / TOGETHER);
        let batches = (units / taken) as u64;
        let (epoch, number) = ((step - 1) / batches, (step - 1) % batches);
        let position = Position {
            epoch,
            index: number as usize * taken,
        };
        let chosen = Loader::new(seed, units, taken, position)?.next_batch();
        Ok(chosen
            .iter()
            .flat_map(|unit| unit * TOGETHER..(unit + 1) * TOGETHER)
            .collect())
    }

    /// Features `[batch, tokens, width]` and captions of the scenes at `indices`.
    pub(crate) fn pairs(
        &self,
        indices: &[usize],
        device: &Device,
    ) -> Result<(Tensor<3>, TextBatch), TrainError> {
        let rows = indices
            .iter()
            .map(|index| self.captions[*index].clone())
            .collect();
        Ok((
            self.features.batch(indices, device)?,
            TextBatch::new(rows, device)?,
        ))
    }
}

/// `count` scenes; every second one is a variation of the one before it, or another scene where there is none.
fn draw(set: &SceneSet, count: u64) -> Vec<Scene> {
    let scene = |index: u64| {
        let unit = index / TOGETHER as u64;
        match index % TOGETHER as u64 {
            0 => set.scene(unit),
            _ => set.variation(unit).unwrap_or_else(|| set.scene(count + unit)),
        }
    };
    (0..count).into_par_iter().map(scene).collect()
}

/// Ids without padding of each text.
pub(crate) fn tokenise<'a>(
    tokenizer: &BertTokenizer,
    texts: impl Iterator<Item = &'a str>,
    max_tokens: usize,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let texts: Vec<String> = texts.map(|text| blip2_data::text::caption(text, "")).collect();
    let batch = tokenizer.encode(&texts, max_tokens, Padding::Longest)?;
    let rows = batch.ids.into_iter().zip(batch.mask);
    Ok(rows
        .map(|(ids, mask)| {
            ids.into_iter()
                .zip(mask)
                .filter(|(_, seen)| *seen)
                .map(|(id, _)| id)
                .collect()
        })
        .collect())
}

/// Drawn scenes and their features `[scenes, tokens, width]`, on `device`.
pub(crate) fn encode_scenes(
    frozen: &Frozen,
    side: u32,
    scenes: &[Scene],
    device: &Device,
) -> Result<(Vec<RgbImage>, Tensor<3>), TrainError> {
    let artist = &frozen.artist;
    let pictures = scenes
        .par_iter()
        .map(|scene| artist.render(scene, side))
        .collect::<Result<Vec<RgbImage>, _>>()?;
    let features = encode(frozen, &pictures, device)?;
    Ok((pictures, features))
}

/// The frozen encoder's features `[pictures, tokens, width]`, on `device`.
pub(crate) fn encode(
    frozen: &Frozen,
    pictures: &[RgbImage],
    device: &Device,
) -> Result<Tensor<3>, TrainError> {
    let encoder = &frozen.encoder;
    let batches = pictures
        .chunks(ENCODE_BATCH)
        .map(|chunk| Ok(encoder.encoder.encode(encoder.processor.batch(chunk, device)?)?))
        .collect::<Result<Vec<_>, TrainError>>()?;
    Ok(Tensor::cat(batches, 0))
}

fn stored_features(
    recipe: &Recipe,
    home: &Path,
    frozen: &Frozen,
    scenes: &[Scene],
    observer: &dyn Observer,
) -> Result<FeatureStore, TrainError> {
    let side = recipe.encoder.image_size;
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
    let device = Device::flex();
    let side_pixels = side as usize;
    let tokens = frozen.encoder.encoder.tokens(side_pixels, side_pixels)?;
    let mut writer =
        FeatureWriter::create(&path, &key, scenes.len(), tokens, frozen.encoder.encoder.width())?;
    observer.phase("features", scenes.len() as u64);
    for (number, chunk) in scenes.chunks(ENCODE_BATCH).enumerate() {
        writer.push(encode_scenes(frozen, side, chunk, &device)?.1)?;
        observer.step((number * ENCODE_BATCH + chunk.len()) as u64, "frozen encoder");
    }
    writer.finish()?;
    Ok(FeatureStore::open(&path, &key)?)
}
