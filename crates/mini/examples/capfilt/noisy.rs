//! Pictures of the demo's world, a third of them with the caption of another.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use blip2_data::pixels::RgbImage;
use blip2_data::sets::{Dataset, Picture, Sample, SampleError};
use blip2_mini::MiniRecipe;
use blip2_mini::scenes::{EmojiAssets, Scene, SceneArtist, SceneSet, Split, noisy_captions};

/// A picture, what it came with, and all that is true of it.
pub(crate) struct Shown {
    picture: Arc<RgbImage>,
    pub(crate) caption: String,
    pub(crate) truths: Vec<String>,
}

impl Shown {
    /// Whether it came with another picture's caption.
    pub(crate) fn is_swapped(&self) -> bool {
        !self.truths.contains(&self.caption)
    }
}

/// Noisy pictures, and others that are told truly.
pub(crate) struct NoisySet {
    pub(crate) pictures: Vec<Shown>,
    others: Vec<Shown>,
}

impl NoisySet {
    /// The first of the part `validation` that `recipe` has: `count` pictures, then `others`.
    pub(crate) fn draw(recipe: &MiniRecipe, home: &Path, count: usize, others: usize) -> Result<Self> {
        let set = SceneSet {
            seed: recipe.data.seed,
            split: Split::Validation,
            repertoire: recipe.data.repertoire()?,
        };
        let artist = SceneArtist::load(&EmojiAssets::in_home(home))?;
        let side = recipe.encoder.image_size.unwrap_or(224);
        let scenes: Vec<Scene> = (0..count + others).map(|index| set.scene(index as u64)).collect();
        let show = |(scene, caption): (&Scene, &str)| -> Result<Shown> {
            Ok(Shown {
                picture: Arc::new(artist.render(scene, side)?),
                truths: [vec![scene.caption.clone()], scene.paraphrases.clone()].concat(),
                caption: caption.to_owned(),
            })
        };
        let (pictures, others) = scenes.split_at(count);
        let told = others.iter().map(|scene| (scene, scene.caption.as_str()));
        Ok(Self {
            pictures: pictures
                .iter()
                .zip(noisy_captions(pictures))
                .map(show)
                .collect::<Result<_>>()?,
            others: told.map(show).collect::<Result<_>>()?,
        })
    }

    /// With the captions that the pictures came with.
    pub(crate) fn noisy(&self) -> Captioned<'_> {
        Captioned(
            self.pictures
                .iter()
                .map(|shown| (shown, &shown.caption))
                .collect(),
        )
    }

    /// With their true captions.
    pub(crate) fn unspoiled(&self) -> Captioned<'_> {
        Captioned(
            self.pictures
                .iter()
                .map(|shown| (shown, &shown.truths[0]))
                .collect(),
        )
    }

    /// Other pictures with their true captions.
    pub(crate) fn held_out(&self) -> Captioned<'_> {
        Captioned(
            self.others
                .iter()
                .map(|shown| (shown, &shown.truths[0]))
                .collect(),
        )
    }
}

/// Pictures with a caption each, as a data set.
pub(crate) struct Captioned<'a>(Vec<(&'a Shown, &'a String)>);

impl Dataset for Captioned<'_> {
    fn name(&self) -> &str {
        "captioned"
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let (shown, caption) = self.0[index as usize];
        Ok(Sample {
            key: format!("{index:06}"),
            picture: Picture::Pixels(Arc::clone(&shown.picture)),
            texts: vec![caption.clone()],
            question: None,
            image_id: None,
        })
    }

    fn fingerprint(&self) -> String {
        self.0
            .iter()
            .map(|(_, caption)| caption.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }
}
