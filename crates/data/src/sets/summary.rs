//! What a look at all samples of a data set shows: counts, sizes, lengths, what is wrong and what comes twice.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Dataset, Picture, Sample, SampleError, Severity};
use crate::ahead;

/// How many samples are read before the next are begun.
const BLOCK: u64 = 4096;
/// How many of those with something wrong are told.
const EXAMPLES: usize = 20;

/// What a look at the samples of a data set shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The data set.
    pub name: String,
    /// Samples that were looked at.
    pub samples: u64,
    /// Those of them that can be used.
    pub usable: u64,
    /// Why the others cannot, with how many there are of each.
    pub skipped: BTreeMap<String, u64>,
    /// What was left out when the set was opened, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// What looked odd when the set was opened, by reason.
    pub warnings: BTreeMap<String, u64>,
    /// The first of those that were skipped or left out.
    pub examples: Vec<Example>,
    /// Width of the pictures, in pixels.
    pub width: Spread,
    /// Height of the pictures, in pixels.
    pub height: Spread,
    /// Texts a sample.
    pub texts: Spread,
    /// Words of a text.
    pub words: Spread,
    /// Texts of nothing but white space.
    pub blank_texts: u64,
    /// Samples with a question.
    pub questions: u64,
    /// Different answers a question.
    pub answers: Spread,
    /// Samples whose picture another one had before, byte for byte, that is not said to be the same.
    pub repeated_pictures: u64,
    /// Samples whose key another one had before.
    pub repeated_keys: u64,
}

/// A sample that cannot be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Which.
    pub key: String,
    /// Its reason for counts.
    pub reason: String,
    /// What is wrong.
    pub problem: String,
}

/// How some numbers lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// As many lie below as above.
    pub median: u64,
    /// The mean.
    pub mean: f64,
    /// The most.
    pub most: u64,
}

/// A sample that was read.
struct Seen {
    sample: Sample,
    size: (u32, u32),
    /// A hash of the picture's bytes.
    picture: [u8; 16],
}

impl Summary {
    /// Looks at the samples of `set` at `indices`, by `threads` threads; `progress` hears of each.
    pub fn of(set: &dyn Dataset, indices: &[u64], threads: usize, mut progress: impl FnMut()) -> Self {
        let mut counts = Counts::default();
        counts.summary.name = set.name().to_owned();
        counts.opening(set);
        for block in indices.chunks(BLOCK as usize) {
            ahead(
                block,
                threads,
                4 * threads,
                |index| look(set, *index),
                |seen| {
                    for seen in seen {
                        counts.note(seen);
                        progress();
                    }
                },
            );
        }
        counts.finish()
    }
}

fn look(set: &dyn Dataset, index: u64) -> Result<Seen, SampleError> {
    let sample = set.read(index)?;
    let pixels = sample.picture.decode(&sample.key)?;
    let hash = match &sample.picture {
        Picture::Encoded(bytes) => Sha256::digest(bytes),
        Picture::Pixels(pixels) => Sha256::digest(pixels.as_raw()),
    };
    let mut picture = [0; 16];
    picture.copy_from_slice(&hash[..16]);
    Ok(Seen {
        size: pixels.dimensions(),
        picture,
        sample: Sample {
            picture: Picture::Encoded([].into()),
            ..sample
        },
    })
}

#[derive(Default)]
struct Counts {
    summary: Summary,
    width: Histogram,
    height: Histogram,
    texts: Histogram,
    words: Histogram,
    answers: Histogram,
    /// The picture that each content was first said to be.
    pictures: HashMap<[u8; 16], Option<String>>,
    keys: HashSet<[u8; 16]>,
}

impl Counts {
    fn opening(&mut self, set: &dyn Dataset) {
        for report in set.reports() {
            let counts = match report.severity {
                Severity::Warning => &mut self.summary.warnings,
                Severity::Skipped | Severity::File => &mut self.summary.left_out,
            };
            *counts.entry(report.reason.clone()).or_default() += 1;
            if report.severity != Severity::Warning {
                let key = report.key.unwrap_or_default();
                self.example(key, report.reason, format!("{}: {}", report.file, report.problem));
            }
        }
    }

    fn example(&mut self, key: String, reason: String, problem: String) {
        if self.summary.examples.len() < EXAMPLES {
            self.summary.examples.push(Example { key, reason, problem });
        }
    }

    fn note(&mut self, seen: Result<Seen, SampleError>) {
        self.summary.samples += 1;
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                *self.summary.skipped.entry(error.reason.to_owned()).or_default() += 1;
                return self.example(error.key, error.reason.to_owned(), error.problem);
            }
        };
        self.summary.usable += 1;
        self.width.add(seen.size.0.into());
        self.height.add(seen.size.1.into());
        let sample = seen.sample;
        self.texts.add(sample.texts.len() as u64);
        for text in &sample.texts {
            let words = text.split_whitespace().count();
            self.words.add(words as u64);
            self.summary.blank_texts += u64::from(words == 0);
        }
        if let Some(question) = &sample.question {
            self.summary.questions += 1;
            self.answers.add(question.answers.len() as u64);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(sample.key.as_bytes())[..16]);
        self.summary.repeated_keys += u64::from(!self.keys.insert(key));
        match self.pictures.get(&seen.picture) {
            None => {
                self.pictures.insert(seen.picture, sample.image_id);
            }
            Some(known) if known.is_some() && *known == sample.image_id => {}
            Some(_) => self.summary.repeated_pictures += 1,
        }
    }

    fn finish(self) -> Summary {
        Summary {
            width: self.width.spread(),
            height: self.height.spread(),
            texts: self.texts.spread(),
            words: self.words.spread(),
            answers: self.answers.spread(),
            ..self.summary
        }
    }
}

/// How often each number came.
#[derive(Default)]
struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    fn add(&mut self, number: u64) {
        *self.0.entry(number).or_default() += 1;
    }

    fn spread(&self) -> Spread {
        let count: u64 = self.0.values().sum();
        let sum: f64 = self
            .0
            .iter()
            .map(|(number, times)| *number as f64 * *times as f64)
            .sum();
        let mut below = 0;
        let median = self.0.iter().find(|(_, times)| {
            below += **times;
            2 * below >= count
        });
        Spread {
            least: self.0.keys().next().copied().unwrap_or(0),
            median: median.map_or(0, |(number, _)| *number),
            mean: if count == 0 { 0.0 } else { sum / count as f64 },
            most: self.0.keys().last().copied().unwrap_or(0),
        }
    }
}
