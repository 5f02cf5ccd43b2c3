//! Examples in front of a question: others with their answers and pictures, drawn from a data set.

use anyhow::{Result, ensure};
use blip2::{Asked, Blip2Error, Example, PictureCache, RgbImage};
use blip2_data::Stream;
use blip2_data::order::Order;
use serde_json::{Value, json};

use super::answers::{most_given, question};
use super::units::Unit;
use super::work::Work;
use crate::commands::data_set::DataSet;
use crate::output;

/// Questions that examples are drawn from: their pictures are opened and encoded again and again.
const POOL: usize = 64;
/// Memory for what the encoder makes of them.
const REMEMBERED: usize = 64 << 20;

/// Where examples come from, and how many stand in front of each question.
pub(super) struct Examples {
    set: DataSet,
    spec: String,
    number: usize,
    seed: u64,
    pool: Vec<Candidate>,
    cache: PictureCache,
}

/// A question that may be an example.
struct Candidate {
    sample: u64,
    image_id: String,
    question: String,
    answer: String,
}

impl Examples {
    /// `number` examples for each of `units`, out of [`POOL`] questions with answers that `seed` draws from the data set that
    /// `spec` names.
    ///
    /// # Errors
    /// Where it cannot be opened, or has too few questions about other pictures than that of a unit.
    pub(super) fn open(spec: &str, number: usize, seed: u64, units: &[Unit]) -> Result<Self> {
        let set = DataSet::open(spec)?;
        let order = Order::new(seed, &[set.samples().len()], 1);
        let mut pool = Vec::with_capacity(POOL);
        let places = 0..order.len();
        for sample in places.map(|place| order.index(0, place)) {
            match set.samples().read(sample) {
                Ok(found) => {
                    let answered = found.question.filter(|question| !question.answers.is_empty());
                    pool.extend(answered.map(|question| Candidate {
                        sample,
                        image_id: found.image_id.unwrap_or(found.key),
                        answer: most_given(&question),
                        question: question.text,
                    }));
                }
                Err(error) => output::warn(format_args!("no example: {error}")),
            }
            if pool.len() == POOL {
                break;
            }
        }
        let examples = Self {
            set,
            spec: spec.to_owned(),
            number,
            seed,
            pool,
            cache: PictureCache::new(REMEMBERED),
        };
        for unit in units {
            let others = examples.others(unit).count();
            ensure!(
                others >= number,
                "{spec} has {others} questions with answers about other pictures than that of {}: too few for {number} examples",
                unit.key
            );
        }
        Ok(examples)
    }

    /// What decides them.
    pub(super) fn decisions(&self) -> Value {
        json!({
            "number": self.number,
            "from": self.spec,
            "fingerprint": self.set.samples().fingerprint(),
            "seed": self.seed,
        })
    }

    /// The question of unit number `unit` about `picture`, with its examples: the seed and the number of the unit draw them.
    pub(super) fn in_front_of(
        &self,
        work: &Work,
        unit: usize,
        picture: &RgbImage,
    ) -> Result<Asked, Blip2Error> {
        let mut others: Vec<&Candidate> = self.others(&work.units[unit]).collect();
        Stream::new(self.seed, "examples", unit as u64).shuffle(&mut others);
        let examples = others.into_iter().take(self.number).map(|other| {
            let seen = self.set.picture(&DataSet::place(other.sample), work.reading)?;
            Ok(Example {
                picture: work.model.encode_picture(&seen, &self.cache)?,
                question: other.question.clone(),
                answer: other.answer.clone(),
            })
        });
        Ok(Asked {
            examples: examples.collect::<Result<_, Blip2Error>>()?,
            picture: work.model.encode_picture(picture, &PictureCache::new(0))?,
            question: question(&work.units[unit]).text.clone(),
        })
    }

    /// What may stand in front of `unit`.
    fn others(&self, unit: &Unit) -> impl Iterator<Item = &Candidate> {
        self.pool.iter().filter(|other| other.image_id != unit.image_id)
    }
}
