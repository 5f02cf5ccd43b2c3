//! What a scene shows, without coordinates: groups of one thing and how they lie to each other.

use super::Repertoire;
use blip2_data::Stream;
use serde::{Deserialize, Serialize};

/// Where one thing lies as seen from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// To the left of.
    LeftOf,
    /// To the right of.
    RightOf,
    /// Above.
    Above,
    /// Below.
    Below,
}

/// One, two or three drawings of the same concept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Index into [`super::CONCEPTS`].
    pub concept: usize,
    /// How many are drawn.
    pub count: usize,
}

/// A subject and what it lies beside: nothing, one other group, or two (the first to its left or right, the second
/// above or below it, so that the subject is the corner of an L). Concepts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrangement {
    /// The group that the caption is about.
    pub subject: Group,
    /// How the subject lies to each other group.
    pub others: Vec<(Relation, Group)>,
}

impl Relation {
    /// All four.
    pub const ALL: [Self; 4] = [Self::LeftOf, Self::RightOf, Self::Above, Self::Below];

    /// The same fact told from the other thing's side.
    pub fn inverse(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }

    /// The words of a caption.
    pub fn words(self) -> &'static str {
        match self {
            Self::LeftOf => "to the left of",
            Self::RightOf => "to the right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// Whether the two lie side by side rather than one over the other.
    pub fn is_horizontal(self) -> bool {
        matches!(self, Self::LeftOf | Self::RightOf)
    }
}

/// Shares of scenes with one group, and with three groups; the rest has two, where relations are learned best.
const ALONE: f32 = 0.12;
const CORNER: f32 = 0.2;
/// Share of two-group scenes in which one of the groups is a couple ("two apples above a bicycle").
const COUPLE: f32 = 0.3;

/// Most drawings of one concept.
pub(super) const MOST: usize = 3;

impl Arrangement {
    /// Draws an arrangement of what the repertoire holds.
    pub(super) fn draw(repertoire: &Repertoire, stream: &mut Stream) -> Self {
        let concepts = repertoire.concepts();
        let one = |concept| Group { concept, count: 1 };
        let kind = stream.unit();
        if kind < ALONE {
            let subject = Group {
                concept: *stream.pick(concepts),
                count: 1 + stream.below(repertoire.most()),
            };
            return Self {
                subject,
                others: Vec::new(),
            };
        }
        if kind < ALONE + CORNER && repertoire.has_corners() {
            let [subject, beside, stacked] = distinct(concepts, stream);
            let horizontal = *stream.pick(&[Relation::LeftOf, Relation::RightOf]);
            let vertical = *stream.pick(&[Relation::Above, Relation::Below]);
            return Self {
                subject: one(subject),
                others: vec![(horizontal, one(beside)), (vertical, one(stacked))],
            };
        }
        let [mut subject, mut other] = distinct(concepts, stream).map(one);
        if repertoire.most() > 1 && stream.chance(COUPLE) {
            subject.count = 2;
        }
        if stream.chance(0.5) {
            std::mem::swap(&mut subject, &mut other);
        }
        Self {
            subject,
            others: vec![(*stream.pick(repertoire.relations()), other)],
        }
        .in_order()
    }

    /// The same facts told in the one way that captions use: of two groups, the concept that stands first in the table
    /// is the subject (of an L it is the corner, whatever the concepts).
    pub(super) fn in_order(self) -> Self {
        match self.others[..] {
            [(relation, other)] if other.concept < self.subject.concept => Self {
                subject: other,
                others: vec![(relation.inverse(), self.subject)],
            },
            _ => self,
        }
    }

    /// All relations turned round; of a group alone, another number up to `most`.
    pub(super) fn turned(mut self, most: usize) -> Self {
        if self.others.is_empty() {
            self.subject.count = self.subject.count % most + 1;
        }
        for (relation, _) in &mut self.others {
            *relation = relation.inverse();
        }
        self
    }

    /// All groups, the subject first.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        [self.subject]
            .into_iter()
            .chain(self.others.iter().map(|(_, group)| *group))
    }

    /// Number of drawings.
    pub fn drawings(&self) -> usize {
        self.groups().map(|group| group.count).sum()
    }

    /// Every relation that the picture shows between two concepts, told once, named in the caption or not: in an L
    /// the two ends lie diagonally, which shows two relations more.
    pub fn shown(&self) -> Vec<(usize, Relation, usize)> {
        let mut facts: Vec<_> = self
            .others
            .iter()
            .map(|(relation, other)| (self.subject.concept, *relation, other.concept))
            .collect();
        if let [(horizontal, beside), (vertical, stacked)] = self.others[..] {
            facts.push((beside.concept, horizontal.inverse(), stacked.concept));
            facts.push((beside.concept, vertical, stacked.concept));
        }
        facts
    }
}

/// `N` different ones of `concepts`, which must hold as many.
fn distinct<const N: usize>(concepts: &[usize], stream: &mut Stream) -> [usize; N] {
    loop {
        let drawn: [usize; N] = std::array::from_fn(|_| *stream.pick(concepts));
        if (1..N).all(|last| !drawn[..last].contains(&drawn[last])) {
            return drawn;
        }
    }
}
