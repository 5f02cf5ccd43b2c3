//! What is evaluated: the pictures of a data set with all that is said about each, or its questions.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use blip2_data::sets::{Dataset, Question};

use crate::{output, progress};

/// A picture, or a question about one.
pub(super) struct Unit {
    /// The sample that has the picture.
    pub(super) sample: u64,
    /// What names the unit in records: the key of the sample.
    pub(super) key: String,
    /// What names its picture in result files.
    pub(super) image_id: String,
    /// What people say of the picture.
    pub(super) texts: Vec<String>,
    /// What is asked, where the set has questions.
    pub(super) question: Option<Question>,
}

/// Each question of `set`, of the first `limit` samples.
///
/// # Errors
/// Where it has none.
pub(super) fn questions(set: &dyn Dataset, limit: u64) -> Result<Vec<Unit>> {
    let mut units = read(set, limit)?;
    units.retain(|unit| unit.question.is_some());
    ensure!(!units.is_empty(), "the data set {} has no question", set.name());
    Ok(units)
}

/// Each picture of `set`, of the first `limit` samples, with the texts of all samples that share it.
///
/// # Errors
/// Where there is none.
pub(super) fn pictures(set: &dyn Dataset, limit: u64) -> Result<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for unit in read(set, limit)? {
        match places.get(&unit.image_id) {
            Some(place) => units[*place].texts.extend(unit.texts),
            None => {
                places.insert(unit.image_id.clone(), units.len());
                units.push(unit);
            }
        }
    }
    ensure!(!units.is_empty(), "the data set {} has no picture", set.name());
    Ok(units)
}

fn read(set: &dyn Dataset, limit: u64) -> Result<Vec<Unit>> {
    let count = set.len().min(limit);
    let bar = progress::bar(count, "reading texts");
    let mut units = Vec::new();
    for index in 0..count {
        match set.read(index) {
            Ok(sample) => units.push(Unit {
                sample: index,
                image_id: sample.image_id.unwrap_or_else(|| sample.key.clone()),
                key: sample.key,
                texts: sample.texts,
                question: sample.question,
            }),
            Err(error) => bar.suspend(|| output::warn(format_args!("left out: {error}"))),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(units)
}
