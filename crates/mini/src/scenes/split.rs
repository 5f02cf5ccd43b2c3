//! What training never shows, so that held-out scenes test composition and not memory.

use super::{Arrangement, CONCEPTS, Relation, Style};
use blip2_data::Stream;
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
    /// (c) Each scene shows a concept in a position to another (say, a fox above something) that it never takes in
    /// training, whatever the words.
    HeldOutCombination,
}

/// Decides what is held out; part of the data set's definition.
const HOLD_OUT_SEED: u64 = 2023;
/// One pair of concepts in so many is held out.
const PAIRS_PER_HELD_OUT: usize = 10;
/// One concept in so many has a relation held out.
const CONCEPTS_PER_HELD_OUT: usize = 5;

/// For each concept, the concepts it never meets and the relation it is never the subject of.
struct HeldOut {
    pairs: Vec<Vec<bool>>,
    combinations: Vec<Option<Relation>>,
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
    let combination = |concept: usize| {
        let mut stream = Stream::new(
            HOLD_OUT_SEED,
            &format!("combination {}", CONCEPTS[concept].singular),
            0,
        );
        let relation = *stream.pick(&Relation::ALL);
        (stream.below(CONCEPTS_PER_HELD_OUT) == 0).then_some(relation)
    };
    HeldOut {
        pairs: pairs.collect(),
        combinations: all.map(combination).collect(),
    }
});

/// Whether training never shows these two concepts (indices into [`CONCEPTS`]) in one picture.
pub fn is_held_out_pair(left: usize, right: usize) -> bool {
    HELD_OUT.pairs[left][right]
}

/// Whether training never shows the concept (index into [`CONCEPTS`]) in this relation to anything.
pub fn is_held_out_combination(concept: usize, relation: Relation) -> bool {
    HELD_OUT.combinations[concept] == Some(relation)
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

    /// Whether a picture of this arrangement belongs here.
    pub fn admits(self, arrangement: &Arrangement) -> bool {
        let facts = arrangement.shown();
        let new_pair = facts
            .iter()
            .any(|(left, _, right)| is_held_out_pair(*left, *right));
        let new_combination = facts.iter().any(|(subject, relation, object)| {
            is_held_out_combination(*subject, *relation)
                || is_held_out_combination(*object, relation.inverse())
        });
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
