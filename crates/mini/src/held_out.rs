//! Pictures that training never showed.

use blip2_data::pixels::RgbImage;
use blip2_trainer::{FeatureSource, HeldOut as Samples, Prompts, Row, TrainError};
use burn::tensor::{Device, Tensor};

use crate::corpus::encode_scenes;
use crate::evaluate::asked;
use crate::pretrain::Frozen;
use crate::scenes::{Scene, SceneSet, Split};
use crate::{MiniError, MiniRecipe};

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
        recipe: &MiniRecipe,
        split: Split,
        count: usize,
        frozen: &Frozen,
    ) -> Result<Self, MiniError> {
        let set = scenes(recipe, split)?;
        let scenes = (0..count as u64).map(|index| set.scene(index)).collect();
        Self::encoded(split, scenes, frozen)
    }

    /// Up to `count` scenes of a part of which no two have the same caption.
    pub(crate) fn distinct(
        recipe: &MiniRecipe,
        split: Split,
        count: usize,
        frozen: &Frozen,
    ) -> Result<Self, MiniError> {
        Self::encoded(split, scenes(recipe, split)?.distinct(count), frozen)
    }

    /// A question about each picture, put by `prompts` and answered after every so many steps.
    pub(crate) fn questions(&self, every: u64, prompts: &Prompts<'_>, device: &Device) -> Samples<'_> {
        let rows = self.scenes.iter().enumerate().map(|(index, scene)| {
            let (question, answer) = asked(scene);
            Row {
                index: index as u64,
                key: format!("{} {index}", self.name),
                prompt: Some(prompts.question(question)),
                answers: true,
                text: answer.to_owned(),
                ..Row::default()
            }
        });
        Samples {
            name: self.name.clone(),
            every,
            rows: rows.collect(),
            features: self,
            device: device.clone(),
        }
    }

    fn encoded(split: Split, scenes: Vec<Scene>, frozen: &Frozen) -> Result<Self, MiniError> {
        let side = frozen.encoder.processor.width;
        let (pictures, features) = encode_scenes(frozen, side, &scenes)?;
        Ok(Self {
            name: split.name().to_owned(),
            scenes,
            pictures,
            features,
        })
    }
}

/// The rows' indices name the pictures.
impl FeatureSource for HeldOut {
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        let rows = rows.iter().map(|row| row.index as usize);
        let features = rows.map(|row| self.features.clone().narrow(0, row, 1));
        Ok(Tensor::cat(features.collect(), 0).to_device(device))
    }
}

fn scenes(recipe: &MiniRecipe, split: Split) -> Result<SceneSet, MiniError> {
    Ok(SceneSet {
        seed: recipe.data.seed,
        split,
        repertoire: recipe.data.repertoire()?,
    })
}
