//! Emoji scenes as a data set like any other: drawn when they are read.

use std::path::Path;
use std::sync::Arc;

use blip2_data::features::content_key;
use blip2_data::sets::{DataSpec, Dataset, Formats, Picture, Sample, SampleError, SetError};
use serde::{Deserialize, Serialize};

use crate::MiniError;
use crate::corpus::draw;
use crate::scenes::{EmojiAssets, Relation, Repertoire, Scene, SceneArtist, SceneSet, Split};

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
}

impl World {
    /// Reads the file.
    ///
    /// # Errors
    /// [`SetError`] where it cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, SetError> {
        let text = std::fs::read_to_string(path).map_err(SetError::reading(path))?;
        let world: Self = toml::from_str(&text).map_err(|error| SetError::malformed(path, error))?;
        match world.side == 0 || world.shard == 0 {
            true => Err(SetError::malformed(path, "`side` and `shard` must be at least 1")),
            false => Ok(world),
        }
    }
}

/// The formats of the library and `scenes`, whose path is the file of a [`World`]. The drawings lie under `home`.
pub fn formats(home: &Path) -> Formats {
    let home = home.to_owned();
    Formats::standard().with("scenes", "emoji scenes, drawn in memory", move |spec, _| {
        Ok(Box::new(SceneDataset::open(spec, &home)?))
    })
}

/// The training scenes of a world: each with its caption, every second one a variation of the one before it.
pub struct SceneDataset {
    name: String,
    world: World,
    scenes: Vec<Scene>,
    artist: SceneArtist,
}

impl SceneDataset {
    /// Those of the world in the file that `spec` names, with the drawings under `home`.
    ///
    /// # Errors
    /// [`SetError`] where the file is no world, or the drawings are not there.
    pub fn open(spec: &DataSpec, home: &Path) -> Result<Self, SetError> {
        let world = World::read(Path::new(&spec.path))?;
        Self::new(spec.name(), world, home).map_err(|error| spec.error(error))
    }

    /// The scenes of `world`, with the drawings under `home`.
    ///
    /// # Errors
    /// [`MiniError::Scenes`] where nothing can be shown, or the drawings are not there.
    pub fn new(name: String, world: World, home: &Path) -> Result<Self, MiniError> {
        let set = SceneSet {
            seed: world.seed,
            split: Split::Train,
            repertoire: Repertoire::new(
                world.concepts.as_deref(),
                world.relations.as_deref(),
                world.most_of_a_kind,
                world.corners,
            )?,
        };
        Ok(Self {
            scenes: draw(&set, world.scenes),
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
        Ok(Sample {
            key,
            picture: Picture::Pixels(Arc::new(picture)),
            texts: vec![scene.caption.clone()],
            question: None,
            image_id: None,
        })
    }

    fn fingerprint(&self) -> String {
        let drawn: String = self.scenes.iter().map(|scene| format!("{scene:?}")).collect();
        content_key(&[drawn.as_bytes(), &self.world.side.to_le_bytes()])
    }
}
