//! Pictures of the demo's world, a third of them with the caption of another.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use blip2_data::pixels::RgbImage;
use blip2_data::sets::{Dataset, Picture, Sample, SampleError};
use blip2_mini::MiniRecipe;
use blip2_mini::scenes::{EmojiAssets, Scene, SceneArtist, SceneSet, Split};

/// One in so many captions is another picture's.
const SWAPPED: usize = 3;

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
        let show = |index: usize| -> Result<Shown> {
            let scene = set.scene(index as u64);
            let picture = Arc::new(artist.render(&scene, side)?);
            let Scene {
                caption, paraphrases, ..
            } = scene;
            Ok(Shown {
                picture,
                truths: [vec![caption.clone()], paraphrases].concat(),
                caption,
            })
        };
        let mut pictures = (0..count).map(show).collect::<Result<Vec<_>>>()?;
        let others = (count..count + others).map(show).collect::<Result<_>>()?;
        swap(&mut pictures);
        Ok(Self { pictures, others })
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

/// Gives every third picture the caption of the next of these that is not true of it.
fn swap(pictures: &mut [Shown]) {
    let places: Vec<usize> = (0..pictures.len()).step_by(SWAPPED).collect();
    let captions: Vec<String> = places
        .iter()
        .map(|place| pictures[*place].caption.clone())
        .collect();
    for (number, place) in places.iter().enumerate() {
        let shown = &mut pictures[*place];
        let others = captions.iter().cycle().skip(number + 1).take(captions.len());
        if let Some(other) = others.into_iter().find(|caption| !shown.truths.contains(caption)) {
            shown.caption.clone_from(other);
        }
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
