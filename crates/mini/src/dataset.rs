//! Emoji scenes as a data set like any other: drawn when they are read.

use std::path::Path;
use std::sync::Arc;

use blip2_data::features::content_key;
use blip2_data::sets::{
    Answer, DataSpec, Dataset, Formats, Picture, Question, Sample, SampleError, SetError,
};
use blip2_trainer::RecipeFile;
use serde::{Deserialize, Serialize};

use crate::corpus::draw;
use crate::evaluate::asked;
use crate::scenes::{
    Combinations, EmojiAssets, Relation, Repertoire, Scene, SceneArtist, SceneSet, Split, noisy_captions,
};
use crate::{MiniError, MiniRecipe, is_recipe};

/// Which scenes, in a file of its own that `path` of a `[[data]]` entry names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// Height and width of the pictures, in pixels.
    pub side: u32,
    /// Scenes of a shard: their order is that of shards of so many.
    pub shard: u64,
    /// Decides the scenes.
    pub seed: u64,
    /// How many different pictures there are; every second one is a variation of the one before it.
    pub scenes: u64,
    /// As in the recipe of the embedded default.
    pub concepts: Option<Vec<String>>,
    /// Likewise.
    pub relations: Option<Vec<Relation>>,
    /// Likewise.
    pub most_of_a_kind: Option<usize>,
    /// Likewise.
    pub corners: Option<bool>,
    /// Likewise.
    pub combinations: Option<Combinations>,
}

/// Scenes of a shard where a recipe of the embedded default stands for a world: it has no shards.
const SHARD: u64 = 256;

impl World {
    /// Reads the file, or what a recipe of the embedded default says of its scenes: that of a run, for what the run was trained on,
    /// and was not.
    ///
    /// # Errors
    /// [`SetError`] where it cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, SetError> {
        if is_recipe(path) {
            let recipe = MiniRecipe::read(path, &[]).map_err(|error| SetError::malformed(path, error))?;
            return Self::of(recipe).ok_or_else(|| {
                SetError::malformed(path, "`encoder.image_size` must say how large the pictures are")
            });
        }
        let text = std::fs::read_to_string(path).map_err(SetError::reading(path))?;
        let world: Self = toml::from_str(&text).map_err(|error| SetError::malformed(path, error))?;
        match world.side == 0 || world.shard == 0 {
            true => Err(SetError::malformed(path, "`side` and `shard` must be at least 1")),
            false => Ok(world),
        }
    }

    fn of(recipe: MiniRecipe) -> Option<Self> {
        Some(Self {
            side: recipe.encoder.image_size?,
            shard: SHARD,
            seed: recipe.data.seed,
            scenes: recipe.data.training_scenes,
            concepts: recipe.data.concepts,
            relations: recipe.data.relations,
            most_of_a_kind: recipe.data.most_of_a_kind,
            corners: recipe.data.corners,
            combinations: recipe.data.combinations,
        })
    }
}

/// Which scenes of a world, and what is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The part. Of those that are held out, no two scenes have the same caption.
    pub part: Split,
    /// What is said of them.
    pub said: Said,
}

/// What is said of each scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its caption.
    Caption,
    /// A question about it with its answer.
    Answer,
    /// Its caption, or one in three times that of another ([`noisy_captions`]): what CapFilt is for.
    Noisy,
}

impl Said {
    /// As it is named in a data set's `text`.
    const ALL: [(&str, Self); 3] = [
        ("caption", Self::Caption),
        ("answer", Self::Answer),
        ("noisy", Self::Noisy),
    ];
}

impl Shown {
    /// What training sees, with its captions.
    pub const TRAINING: Self = Self {
        part: Split::Train,
        said: Said::Caption,
    };

    /// As `split` and `text` of `spec` have it.
    fn of(spec: &DataSpec) -> Result<Self, SetError> {
        let part = match &spec.split {
            None => Split::Train,
            Some(name) => {
                let known = Split::ALL.into_iter().find(|part| part.name() == name);
                known.ok_or_else(|| {
                    let names = Split::ALL.map(Split::name).join(", ");
                    spec.error(format!("it has no part `{name}`, but {names}"))
                })?
            }
        };
        let text = spec.text.as_deref().unwrap_or("caption");
        let said = Said::ALL.into_iter().find(|(name, _)| *name == text);
        let unknown = || {
            spec.error(format!(
                "its text is `caption`, `answer` or `noisy`, not `{text}`"
            ))
        };
        let (_, said) = said.ok_or_else(unknown)?;
        Ok(Self { part, said })
    }
}

/// The formats of the library and `scenes`, whose path is the file of a [`World`], or a recipe of the embedded default. The drawings lie under `home`.
pub fn formats(home: &Path) -> Formats {
    let home = home.to_owned();
    Formats::standard().with("scenes", "emoji scenes, drawn in memory", move |spec, _| {
        Ok(Box::new(SceneDataset::open(spec, &home)?))
    })
}

/// Scenes of a world, each with a caption, or a question and its answer. Of those for training every second one is a variation
/// of the one before it.
pub struct SceneDataset {
    name: String,
    world: World,
    said: Said,
    scenes: Vec<Scene>,
    captions: Vec<String>,
    artist: SceneArtist,
}

impl SceneDataset {
    /// Those of the world in the file that `spec` names, with the drawings under `home`: the part that `split` names, `train` where
    /// it names none; `text = "answer"` has questions answered in place of captions, `text = "noisy"` captions that are true two times in
    /// three.
    ///
    /// # Errors
    /// [`SetError`] where the file is no world, there is no such part or text, or the drawings are not there.
    pub fn open(spec: &DataSpec, home: &Path) -> Result<Self, SetError> {
        let (world, shown) = (World::read(Path::new(&spec.path))?, Shown::of(spec)?);
        Self::new(spec.name(), world, shown, home).map_err(|error| spec.error(error))
    }

    /// The scenes of `world` that are `shown`, with the drawings under `home`.
    ///
    /// # Errors
    /// [`MiniError::Scenes`] where nothing can be shown, or the drawings are not there.
    pub fn new(name: String, world: World, shown: Shown, home: &Path) -> Result<Self, MiniError> {
        let set = SceneSet {
            seed: world.seed,
            split: shown.part,
            repertoire: Repertoire::new(
                world.concepts.as_deref(),
                world.relations.as_deref(),
                world.most_of_a_kind,
                world.corners,
                world.combinations,
            )?,
        };
        let scenes = match shown.part {
            Split::Train => draw(&set, world.scenes),
            _ => set.distinct(world.scenes as usize),
        };
        let captions = match shown.said {
            Said::Noisy => noisy_captions(&scenes),
            Said::Caption | Said::Answer => scenes.iter().map(|scene| scene.caption.as_str()).collect(),
        };
        Ok(Self {
            captions: captions.into_iter().map(str::to_owned).collect(),
            scenes,
            said: shown.said,
            artist: SceneArtist::load(&EmojiAssets::in_home(home))?,
            name,
            world,
        })
    }
}

impl Dataset for SceneDataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.scenes.len() as u64
    }

    fn runs(&self) -> Vec<u64> {
        let (len, shard) = (self.len(), self.world.shard);
        (0..len)
            .step_by(shard as usize)
            .map(|start| shard.min(len - start))
            .collect()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let key = format!("{index:09}");
        let scene = &self.scenes[index as usize];
        let picture = self
            .artist
            .render(scene, self.world.side)
            .map_err(|error| SampleError {
                key: key.clone(),
                reason: "picture_undecodable",
                problem: error.to_string(),
            })?;
        let (question, answer) = asked(scene);
        let question = (self.said == Said::Answer).then(|| Question {
            id: key.clone(),
            text: question.to_owned(),
            answers: vec![Answer {
                text: answer.to_owned(),
                count: 1.0,
            }],
        });
        Ok(Sample {
            texts: match question {
                Some(_) => Vec::new(),
                None => vec![self.captions[index as usize].clone()],
            },
            key,
            picture: Picture::Pixels(Arc::new(picture)),
            question,
            image_id: None,
        })
    }

    fn fingerprint(&self) -> String {
        let drawn: String = self.scenes.iter().map(|scene| format!("{scene:?}")).collect();
        let side = self.world.side.to_le_bytes();
        match self.said {
            Said::Caption => content_key(&[drawn.as_bytes(), &side]),
            Said::Answer => content_key(&[drawn.as_bytes(), &side, b"answer"]),
            Said::Noisy => content_key(&[drawn.as_bytes(), &side, b"noisy"]),
        }
    }
}
