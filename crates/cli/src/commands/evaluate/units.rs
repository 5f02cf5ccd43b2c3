//! What is evaluated: the pictures of a data set with all that is said about each, or its questions.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use blip2_data::sets::{Dataset, Question, Severity};

use crate::{output, progress};

/// A picture, or a question about one.
pub(super) struct Unit {
    /// The sample that has the picture.
    pub(super) sample: u64,
    /// What names the unit in records: the key of the sample.
    pub(super) key: String,
    /// What names its picture in result files.
    pub(super) image_id: String,
    /// Whether samples with this `image_id` show one picture; not so where it is but the key, which is unique in a file alone.
    shares_picture: bool,
    /// What people say of the picture.
    pub(super) texts: Vec<String>,
    /// What is asked, where the set has questions.
    pub(super) question: Option<Question>,
}

/// All that is evaluated, and what was left out when the set was opened or could not even be read: samples by the reason for it.
pub(super) struct Units {
    pub(super) list: Vec<Unit>,
    pub(super) left_out: BTreeMap<String, usize>,
}

/// Each question of `set`, of the first `limit` samples.
///
/// # Errors
/// Where it has none.
pub(super) fn questions(set: &dyn Dataset, limit: u64) -> Result<Units> {
    let mut units = read(set, limit);
    units.list.retain(|unit| unit.question.is_some());
    ensure!(
        !units.list.is_empty(),
        "the data set {} has no question",
        set.name()
    );
    Ok(units)
}

/// Each picture of `set`, of the first `limit` samples, with the texts of all samples that share it by their image id.
///
/// # Errors
/// Where there is none.
pub(super) fn pictures(set: &dyn Dataset, limit: u64) -> Result<Units> {
    let Units { list, left_out } = read(set, limit);
    let mut units: Vec<Unit> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for unit in list {
        match places.get(&unit.image_id).filter(|_| unit.shares_picture) {
            Some(place) => units[*place].texts.extend(unit.texts),
            None => {
                if unit.shares_picture {
                    places.insert(unit.image_id.clone(), units.len());
                }
                units.push(unit);
            }
        }
    }
    ensure!(!units.is_empty(), "the data set {} has no picture", set.name());
    Ok(Units {
        list: units,
        left_out,
    })
}

fn read(set: &dyn Dataset, limit: u64) -> Units {
    let count = set.len().min(limit);
    let bar = progress::bar(count, "reading texts");
    let (mut list, mut left_out) = (Vec::new(), BTreeMap::new());
    for report in set.reports() {
        if report.severity != Severity::Warning {
            *left_out.entry(report.reason).or_insert(0) += 1;
        }
    }
    for index in 0..count {
        match set.annotation(index) {
            Ok(annotation) => list.push(Unit {
                sample: index,
                shares_picture: annotation.image_id.is_some(),
                image_id: annotation.image_id.unwrap_or_else(|| annotation.key.clone()),
                key: annotation.key,
                texts: annotation.texts,
                question: annotation.question,
            }),
            Err(error) => {
                *left_out.entry(error.reason.to_owned()).or_insert(0) += 1;
                bar.suspend(|| output::warn(format_args!("left out: {error}")));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Units { list, left_out }
}
