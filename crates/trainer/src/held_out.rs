//! Pictures that training never showed.

use blip2_data::pixels::RgbImage;
use blip2_data::scenes::{Scene, SceneSet, Split};
use burn::tensor::{Device, Tensor};

use crate::corpus::encode_scenes;
use crate::pretrain::Frozen;
use crate::{Recipe, TrainError};

/// Held-out pictures with what the frozen encoder makes of them.
pub(crate) struct HeldOut {
    pub(crate) name: String,
    /// What the pictures show, where they are scenes.
    pub(crate) scenes: Vec<Scene>,
    pub(crate) pictures: Vec<RgbImage>,
    /// `[pictures, tokens, width]`, off the tape.
    pub(crate) features: Tensor<3>,
}

impl HeldOut {
    /// The first `count` scenes of a part: a caption comes as often as it comes.
    pub(crate) fn first(
        recipe: &Recipe,
        split: Split,
        count: usize,
        frozen: &Frozen,
    ) -> Result<Self, TrainError> {
        let set = scenes(recipe, split)?;
        let scenes = (0..count as u64).map(|index| set.scene(index)).collect();
        Self::encoded(recipe, split, scenes, frozen)
    }

    /// Up to `count` scenes of a part of which no two have the same caption.
    pub(crate) fn distinct(
        recipe: &Recipe,
        split: Split,
        count: usize,
        frozen: &Frozen,
    ) -> Result<Self, TrainError> {
        Self::encoded(recipe, split, scenes(recipe, split)?.distinct(count), frozen)
    }

    fn encoded(
        recipe: &Recipe,
        split: Split,
        scenes: Vec<Scene>,
        frozen: &Frozen,
    ) -> Result<Self, TrainError> {
        let side = recipe.encoder.image_size;
        let (pictures, features) = encode_scenes(frozen, side, &scenes, &Device::flex())?;
        Ok(Self {
            name: split.name().to_owned(),
            scenes,
            pictures,
            features,
        })
    }
}

fn scenes(recipe: &Recipe, split: Split) -> Result<SceneSet, TrainError> {
    Ok(SceneSet {
        seed: recipe.data.seed,
        split,
        repertoire: recipe.data.repertoire()?,
    })
}
