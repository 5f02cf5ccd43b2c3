//! Reading one sample: its members are walked through again, so that nothing is taken from an index but where it begins.

use std::fs::File;
use std::io;

use super::group::{Group, Groups, Part};
use super::rules::{Refusal, Rules, is_json};
use super::tar::{ReadAt, Span};
use super::{captions, refusal};
use crate::sets::{Picture, Report, Sample, SampleError, Severity};

/// A sample of at most so many bytes is read in one piece; of a larger one only what is needed.
const ONE_READ: u64 = 4 << 20;

/// Why there is no sample.
pub(super) enum Failure {
    /// The shard cannot be read.
    Shard(io::Error),
    /// This one cannot be used.
    Sample(SampleError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Shard(error)
    }
}

/// The sample between `start` and `end`, and what looked odd in it.
///
/// # Errors
/// If the archive cannot be read, there is no such sample, or it cannot be used.
pub(super) fn read(
    archive: &File,
    [start, end]: [u64; 2],
    rules: Rules,
    shard: &str,
) -> Result<(Sample, Vec<Report>), Failure> {
    if start >= end || end > ReadAt::len(archive)? {
        return Err(wrong_index(start, shard));
    }
    if end - start <= ONE_READ {
        assemble(&Span::read(archive, start, end)?, [start, end], rules, shard)
    } else {
        assemble(archive, [start, end], rules, shard)
    }
}

/// The key of the sample between `start` and `end`: headers are read, nothing else.
///
/// # Errors
/// If the archive cannot be read, or there is no such sample.
pub(super) fn key(archive: &File, [start, end]: [u64; 2], shard: &str) -> Result<String, Failure> {
    let group = Groups::new(archive, start)?.next()?;
    let group = group.filter(|group| group.end >= end);
    group
        .map(|group| group.key())
        .ok_or_else(|| wrong_index(start, shard))
}

fn assemble(
    source: &impl ReadAt,
    [start, end]: [u64; 2],
    rules: Rules,
    shard: &str,
) -> Result<(Sample, Vec<Report>), Failure> {
    let group = Groups::new(source, start)?.next()?;
    let Some(group) = group.filter(|group| group.end >= end) else {
        return Err(wrong_index(start, shard));
    };
    let key = group.key();
    let texts = texts(source, &group, rules)?.map_err(|(reason, problem)| {
        Failure::Sample(refusal(key.clone(), (reason, format!("{shard}: {problem}"))))
    })?;
    let picture = match rules.picture(&group) {
        Some(picture) => bytes(source, picture)?,
        None => Vec::new(),
    };
    let mut reports = Vec::new();
    if let Some(json) = rules.other_json(&group)
        && let Err((reason, problem)) = captions::parse(&bytes(source, json)?)
    {
        reports.push(Report {
            severity: Severity::Warning,
            reason: reason.to_owned(),
            file: shard.to_owned(),
            key: Some(key.clone()),
            problem,
        });
    }
    let sample = Sample {
        key,
        picture: Picture::Encoded(picture.into()),
        texts,
        question: None,
        image_id: None,
    };
    Ok((sample, reports))
}

fn texts(source: &impl ReadAt, group: &Group, rules: Rules) -> io::Result<Result<Vec<String>, Refusal>> {
    let texts = match rules.text(group) {
        None => Ok(Vec::new()),
        Some(part) if is_json(part) => captions::from_json(&bytes(source, part)?),
        Some(part) => captions::from_text(bytes(source, part)?),
    };
    Ok(texts.and_then(|texts| rules.accept(texts)))
}

fn bytes(source: &impl ReadAt, part: &Part) -> io::Result<Vec<u8>> {
    Ok(Span::read(source, part.data, part.data + part.size)?.bytes)
}

fn wrong_index(start: u64, shard: &str) -> Failure {
    let problem = format!("{shard} holds no sample at byte {start}; its index is damaged, remove it");
    Failure::Sample(refusal(
        format!("byte {start} of {shard}"),
        ("shard_unreadable", problem),
    ))
}
