//! What scenes may show, out of all that can be drawn.

use super::arrangement::{Arrangement, Group, MOST, Relation};
use super::{CONCEPTS, Combinations, ScenesError, Split};

/// The concepts and relations of a data set, how many drawings of one concept stand together at most, and whether three things
/// share a picture: everything by default. Less makes a world that is learned sooner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repertoire {
    /// Indices into [`CONCEPTS`], rising.
    concepts: Vec<usize>,
    relations: Vec<Relation>,
    most: usize,
    corners: bool,
    combinations: Combinations,
}

impl Default for Repertoire {
    fn default() -> Self {
        Self {
            concepts: (0..CONCEPTS.len()).collect(),
            relations: Relation::ALL.to_vec(),
            most: MOST,
            corners: true,
            combinations: Combinations::default(),
        }
    }
}

impl Repertoire {
    /// The concepts of these names (all for `None`) in these relations (all for `None`), at most `most` of a kind (3 for
    /// `None`), with or without scenes of three things in an L (with them for `None`, where all four relations are shown), and
    /// which combinations are held out (those of one for `None`).
    ///
    /// # Errors
    /// [`ScenesError::Repertoire`] where a name is none, or where so little is left that a part of the scenes has nothing
    /// to show.
    pub fn new(
        names: Option<&[String]>,
        relations: Option<&[Relation]>,
        most: Option<usize>,
        corners: Option<bool>,
        combinations: Option<Combinations>,
    ) -> Result<Self, ScenesError> {
        let mut repertoire = Self::default();
        if let Some(names) = names {
            let index = |name: &String| {
                CONCEPTS
                    .iter()
                    .position(|concept| concept.singular == name)
                    .ok_or_else(|| ScenesError::Repertoire(format!("there is no concept {name:?}")))
            };
            repertoire.concepts = names.iter().map(index).collect::<Result<_, _>>()?;
            repertoire.concepts.sort_unstable();
            repertoire.concepts.dedup();
        }
        if let Some(relations) = relations {
            repertoire.relations = relations.to_vec();
        }
        if let Some(most) = most {
            repertoire.most = most;
        }
        if let Some(corners) = corners {
            repertoire.corners = corners;
        }
        if let Some(combinations) = combinations {
            repertoire.combinations = combinations;
        }
        repertoire.check()?;
        Ok(repertoire)
    }

    /// Indices into [`CONCEPTS`], rising.
    pub fn concepts(&self) -> &[usize] {
        &self.concepts
    }

    /// The relations that are shown.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// Most drawings of one concept.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Which combinations are held out.
    pub fn combinations(&self) -> Combinations {
        self.combinations
    }

    /// Whether a thing can lie beside one other and above or below a third.
    pub(super) fn has_corners(&self) -> bool {
        self.corners && self.concepts.len() > 3 && self.relations.len() == Relation::ALL.len()
    }

    fn check(&self) -> Result<(), ScenesError> {
        let refuse = |reason: String| Err(ScenesError::Repertoire(reason));
        if !(1..=MOST).contains(&self.most) {
            return refuse(format!(
                "{} of a kind cannot be drawn: choose 1 to {MOST}",
                self.most
            ));
        }
        for relation in &self.relations {
            let times = |wanted| self.relations.iter().filter(|other| **other == wanted).count();
            if times(*relation) != 1 || times(relation.inverse()) != 1 {
                return refuse(format!(
                    "{:?} and its inverse must be given once each: one fact is told from both sides",
                    relation.words()
                ));
            }
        }
        match Split::ALL.into_iter().find(|split| !self.has_scene_of(*split)) {
            Some(split) => refuse(format!(
                "{} concepts in {} relations leave no pair for the {split} scenes: give more of them",
                self.concepts.len(),
                self.relations.len()
            )),
            None => Ok(()),
        }
    }

    /// Whether two of the concepts can be arranged as the split wants it.
    fn has_scene_of(&self, split: Split) -> bool {
        let one = |concept: &usize| Group {
            concept: *concept,
            count: 1,
        };
        self.concepts.iter().any(|subject| {
            self.concepts
                .iter()
                .filter(|other| *other != subject)
                .any(|other| {
                    self.relations.iter().any(|relation| {
                        let arrangement = Arrangement {
                            subject: one(subject),
                            others: vec![(*relation, one(other))],
                        };
                        split.admits(&arrangement, self.combinations)
                    })
                })
        })
    }
}
