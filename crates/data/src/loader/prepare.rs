//! The work on one row: which sample it is, its picture, its caption, and what takes its place where it is damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::skipped::Skipped;
use super::{Row, Transform};
use crate::Stream;
use crate::mixture::{Mixture, Place};
use crate::sets::{Question, Sample, SampleError};

/// So many others are tried in the place of a damaged sample; a set where none of them is whole is no set.
const SUBSTITUTES: usize = 64;
/// The same where filters keep samples out, which may be most of a set.
const KEPT_OUT: usize = 4096;

pub(super) struct Prepare {
    pub(super) mixture: Arc<Mixture>,
    pub(super) transform: Arc<dyn Transform>,
}

/// A row, unless nothing could take its place, and the damaged samples that should have stood there.
pub(super) struct Prepared {
    pub(super) row: Option<Row>,
    pub(super) skipped: Vec<Skipped>,
}

impl Prepare {
    /// The row at `position` of the run. Another sample of the same set, drawn by the position, takes the place of one that
    /// cannot be used.
    pub(super) fn row(&self, position: u64) -> Prepared {
        let place = self.mixture.at(position);
        let part = &self.mixture.parts()[place.set];
        let (mut skipped, mut damaged) = (Vec::new(), 0);
        for attempt in 0.. {
            let index = match attempt {
                0 => place.index,
                _ => self
                    .stream(&format!("substitute {attempt}"), position)
                    .below(part.set.len() as usize) as u64,
            };
            match self.sample(position, Place { index, ..place }) {
                Ok(row) => {
                    return Prepared {
                        row: Some(row),
                        skipped,
                    };
                }
                Err(error) => {
                    let kept_out = part.set.keeps_out(error.reason);
                    damaged += usize::from(!kept_out);
                    skipped.push(Skipped {
                        position,
                        set: part.set.name().to_owned(),
                        index,
                        key: error.key,
                        reason: error.reason.to_owned(),
                        problem: error.problem,
                        kept_out,
                        told_before: kept_out && place.epoch > 0,
                    });
                }
            }
            if damaged > SUBSTITUTES || skipped.len() - damaged > KEPT_OUT {
                break;
            }
        }
        Prepared { row: None, skipped }
    }

    fn sample(&self, position: u64, place: Place) -> Result<Row, SampleError> {
        let set = &self.mixture.parts()[place.set].set;
        let work = || {
            let sample = set.read(place.index)?;
            learnable(&sample)?;
            let picture = sample.picture.decode(&sample.key)?;
            let mut stream = self.stream("augmentation", position);
            let view = self
                .transform
                .apply(&picture, &mut stream)
                .map_err(|error| SampleError {
                    key: sample.key.clone(),
                    reason: "picture_undecodable",
                    problem: error.to_string(),
                })?;
            let text = match sample.texts.len() {
                0 => None,
                count => {
                    let drawn = self.stream("caption", position).below(count);
                    sample.texts.into_iter().nth(drawn)
                }
            };
            Ok(Row {
                position,
                set: place.set,
                index: place.index,
                key: sample.key,
                picture: view,
                text,
                question: sample.question,
                image_id: sample.image_id,
            })
        };
        // A reader that panics on one sample of a hundred million must not end the run.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(SampleError {
                key: format!("number {}", place.index),
                reason: "reader_panicked",
                problem: "reading it panicked, which is an error of the program".into(),
            })
        })
    }

    fn stream(&self, purpose: &str, position: u64) -> Stream {
        Stream::new(self.mixture.seed(), purpose, position)
    }
}

/// That a question has an answer to learn: sets are read with questions that have none, too, as those of tests.
fn learnable(sample: &Sample) -> Result<(), SampleError> {
    let unanswered = |question: &Question| question.answers.is_empty();
    match sample.texts.is_empty() && sample.question.as_ref().is_some_and(unanswered) {
        false => Ok(()),
        true => Err(SampleError {
            key: sample.key.clone(),
            reason: "no_answers",
            problem: "its question has no answer to learn".to_owned(),
        }),
    }
}
