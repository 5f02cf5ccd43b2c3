//! A scene: what is shown where, on what ground, and all that can truly be said of it.

use super::arrangement::Arrangement;
use super::language::{self, Distractor, Question};
use super::layout::{self, Placed};
use super::{Repertoire, Split, Style};
use blip2_data::Stream;
use std::collections::HashSet;

/// What lies behind the drawings; colours are RGB bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// One colour.
    Plain([u8; 3]),
    /// One colour passing into another.
    Gradient {
        /// At the left, top, or top left.
        from: [u8; 3],
        /// At the opposite end.
        to: [u8; 3],
        /// Which way.
        direction: Direction,
    },
}

/// The way a gradient runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Left to right.
    Right,
    /// Top to bottom.
    Down,
    /// Top left to bottom right.
    Diagonal,
}

/// One picture of the data set, not yet drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The drawing style.
    pub style: Style,
    /// What lies behind.
    pub ground: Ground,
    /// What is shown, without coordinates.
    pub arrangement: Arrangement,
    /// The drawings at their places, the subject's first.
    pub objects: Vec<Placed>,
    /// The one caption that the picture decides word by word.
    pub caption: String,
    /// Other true captions.
    pub paraphrases: Vec<String>,
    /// Questions with exactly one true answer each.
    pub questions: Vec<Question>,
    /// False captions, each one change away from the true one.
    pub distractors: Vec<Distractor>,
}

/// Share of variations that turn relations; they are harder to tell apart than concepts.
const TURNED: f32 = 0.7;

/// Draws after which a search for captions that are not taken ends: none is left then, or next to none.
const PATIENCE: usize = 5_000;

/// An endless sequence of scenes, decided by seed, split and repertoire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SceneSet {
    /// Which sequence.
    pub seed: u64,
    /// Which part of all that can be shown.
    pub split: Split,
    /// Out of what.
    pub repertoire: Repertoire,
}

impl SceneSet {
    /// A sequence with everything that can be drawn.
    pub fn of_everything(seed: u64, split: Split) -> Self {
        Self {
            seed,
            split,
            repertoire: Repertoire::default(),
        }
    }

    /// The scene at `index`, the same for ever.
    pub fn scene(&self, index: u64) -> Scene {
        let mut stream = Stream::new(self.seed, self.split.name(), index);
        let arrangement = loop {
            let drawn = Arrangement::draw(&self.repertoire, &mut stream);
            if self.admits(&drawn) {
                break drawn;
            }
        };
        self.compose(arrangement, &mut stream)
    }

    /// A scene that differs from the one at `index` as its distractors do: mostly by its relations turned round (one group
    /// alone: by another number), else by one other concept. It is drawn anew, elsewhere and in any style.
    ///
    /// `None` where there is no such scene, or it belongs to another split.
    pub fn variation(&self, index: u64) -> Option<Scene> {
        let mut stream = Stream::new(self.seed, &format!("{} variation", self.split.name()), index);
        let arrangement = self.scene(index).arrangement;
        let varied = if stream.chance(TURNED) {
            arrangement.clone().turned(self.repertoire.most())
        } else {
            let group = stream.below(arrangement.groups().count());
            language::replace_concept(&arrangement, group, self, &mut stream)?
        };
        (varied != arrangement && self.admits(&varied)).then(|| self.compose(varied, &mut stream))
    }

    /// Whether a picture of this arrangement belongs to the split.
    pub fn admits(&self, arrangement: &Arrangement) -> bool {
        self.split.admits(arrangement, self.repertoire.combinations())
    }

    fn compose(&self, arrangement: Arrangement, stream: &mut Stream) -> Scene {
        let style = *stream.pick(self.split.styles());
        let ground = Ground::draw(stream);
        let objects = layout::place(&arrangement, stream);
        let distractors = language::distractors(&arrangement, self, stream);
        Scene {
            style,
            ground,
            objects,
            caption: language::caption(&arrangement),
            paraphrases: language::paraphrases(&arrangement),
            questions: language::questions(&arrangement, &self.repertoire),
            distractors,
            arrangement,
        }
    }

    /// The first `count` scenes of which no two have the same caption: a gallery in which each text has one picture.
    /// Fewer where the repertoire has not so many captions.
    pub fn distinct(&self, count: usize) -> Vec<Scene> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut in_vain = 0;
        for index in 0.. {
            if found.len() == count || in_vain == PATIENCE {
                break;
            }
            let scene = self.scene(index);
            if seen.insert(scene.caption.clone()) {
                found.push(scene);
                in_vain = 0;
            } else {
                in_vain += 1;
            }
        }
        found
    }
}

impl Ground {
    /// Pale colours, on which all four styles stand out.
    pub(super) fn draw(stream: &mut Stream) -> Self {
        let mut colour = || std::array::from_fn(|_| 150 + stream.below(101) as u8);
        let (from, to) = (colour(), colour());
        if stream.chance(0.5) {
            return Self::Plain(from);
        }
        let direction = *stream.pick(&[Direction::Right, Direction::Down, Direction::Diagonal]);
        Self::Gradient { from, to, direction }
    }
}
