//! What training never shows, so that held-out scenes test composition and not memory.

use super::{Arrangement, CONCEPTS, Relation, Style};
use blip2_data::Stream;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// A part of the scenes. All parts but training and validation hold back one thing each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training: none of what the others hold back.
    Train,
    /// Drawn as training scenes are, but other ones.
    Validation,
    /// (a) As training, in the drawing style [`Style::HELD_OUT`].
    HeldOutStyle,
    /// (b) Each scene shows two concepts that never share a picture in training.
    HeldOutPairs,
    /// (c) Each scene shows a position that training never shows, whatever the words: which, says [`Combinations`].
    HeldOutCombination,
}

/// What a held-out combination is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combinations {
    /// A concept in a relation to anything: a fox above something. In all of training it lies otherwise, so that what is
    /// known of foxes is against what is seen.
    #[default]
    OfOne,
    /// Two concepts in a relation: a fox above a lemon. Training shows both with each other and in each relation, and not
    /// these two in this one.
    OfTwo,
}

/// Decides what is held out; part of the data set's definition.
const HOLD_OUT_SEED: u64 = 2023;
/// One pair of concepts in so many is held out.
const PAIRS_PER_HELD_OUT: usize = 10;
/// One concept in so many has a relation held out, where combinations are of one.
const CONCEPTS_PER_HELD_OUT: usize = 5;
/// One pair of concepts in so many has a relation held out, where combinations are of two.
const PAIRS_PER_HELD_OUT_RELATION: usize = 3;

/// For each concept, the concepts it never meets, the relation it is never the subject of, and the one that it never has to
/// each concept behind it in the table.
struct HeldOut {
    pairs: Vec<Vec<bool>>,
    of_one: Vec<Option<Relation>>,
    of_two: Vec<Vec<Option<Relation>>>,
}

/// By name rather than by place in the table: a concept added later moves nothing.
static HELD_OUT: LazyLock<HeldOut> = LazyLock::new(|| {
    let pair = |left: usize, right: usize| {
        let names = format!("pair {} {}", CONCEPTS[left].singular, CONCEPTS[right].singular);
        left < right && Stream::new(HOLD_OUT_SEED, &names, 0).below(PAIRS_PER_HELD_OUT) == 0
    };
    let all = 0..CONCEPTS.len();
    let pairs = all.clone().map(|left| {
        all.clone()
            .map(|right| pair(left, right) || pair(right, left))
            .collect()
    });
    let relation = |names: String, per_held_out: usize| {
        let mut stream = Stream::new(HOLD_OUT_SEED, &format!("combination {names}"), 0);
        let relation = *stream.pick(&Relation::ALL);
        (stream.below(per_held_out) == 0).then_some(relation)
    };
    let name = |concept: usize| CONCEPTS[concept].singular;
    let of_one = |concept| relation(name(concept).to_owned(), CONCEPTS_PER_HELD_OUT);
    let of_two = |left: usize, right: usize| {
        let names = format!("{} {}", name(left), name(right));
        (left < right).then(|| relation(names, PAIRS_PER_HELD_OUT_RELATION))?
    };
    let of_two = all
        .clone()
        .map(|left| all.clone().map(|right| of_two(left, right)).collect());
    HeldOut {
        pairs: pairs.collect(),
        of_one: all.clone().map(of_one).collect(),
        of_two: of_two.collect(),
    }
});

/// Whether training never shows these two concepts (indices into [`CONCEPTS`]) in one picture.
pub fn is_held_out_pair(left: usize, right: usize) -> bool {
    HELD_OUT.pairs[left][right]
}

/// Whether training never shows the concept (index into [`CONCEPTS`]) in this relation to anything, where combinations are
/// [`Combinations::OfOne`].
pub fn is_held_out_combination(concept: usize, relation: Relation) -> bool {
    HELD_OUT.of_one[concept] == Some(relation)
}

impl Combinations {
    /// Whether training never shows the concept `subject` (an index into [`CONCEPTS`], as `object`) in this relation to
    /// `object`.
    pub fn hold_out(self, subject: usize, relation: Relation, object: usize) -> bool {
        match self {
            Self::OfOne => {
                is_held_out_combination(subject, relation)
                    || is_held_out_combination(object, relation.inverse())
            }
            Self::OfTwo => {
                HELD_OUT.of_two[subject][object] == Some(relation)
                    || HELD_OUT.of_two[object][subject] == Some(relation.inverse())
            }
        }
    }
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Train,
        Self::Validation,
        Self::HeldOutStyle,
        Self::HeldOutPairs,
        Self::HeldOutCombination,
    ];

    /// The name in reports; also what keeps the splits' random streams apart.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::HeldOutStyle => "held-out style",
            Self::HeldOutPairs => "held-out pairs",
            Self::HeldOutCombination => "held-out combination",
        }
    }

    /// The drawing styles that may appear.
    pub fn styles(self) -> &'static [Style] {
        match self {
            Self::HeldOutStyle => &[Style::HELD_OUT],
            _ => &Style::TRAINING,
        }
    }

    /// Whether a picture of this arrangement belongs here, where such `combinations` are held out.
    pub fn admits(self, arrangement: &Arrangement, combinations: Combinations) -> bool {
        let facts = arrangement.shown();
        let new_pair = facts
            .iter()
            .any(|(left, _, right)| is_held_out_pair(*left, *right));
        let new_combination = facts
            .iter()
            .any(|(subject, relation, object)| combinations.hold_out(*subject, *relation, *object));
        match self {
            Self::Train | Self::Validation | Self::HeldOutStyle => !new_pair && !new_combination,
            Self::HeldOutPairs => new_pair && !new_combination,
            Self::HeldOutCombination => new_combination && !new_pair,
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
