//! Captions that say little of their picture, as a retrieval model has it: its scores are computed once and read here.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json::Texts;
use super::records::lines;
use super::{DataSpec, Filter, Sample, SetError, paths};
use crate::text::caption;

/// Refuses samples with a caption whose similarity to the picture is too low, or not known.
pub(super) struct Similarity {
    least: f64,
    /// By key and caption, as a number.
    scores: HashMap<u64, f64>,
    hasher: RandomState,
    /// Of all scores.
    digest: String,
}

/// A line that `blip2 capfilt` writes; other fields are not looked at.
#[derive(Deserialize)]
struct Scored {
    key: String,
    captions: Texts,
    scores: Vec<f64>,
}

impl Similarity {
    /// With the scores in `path`: JSON lines with `key`, `captions` and `scores`, or a folder of them.
    pub(super) fn read(least: f64, path: &Path) -> Result<Self, SetError> {
        let mut this = Self {
            least,
            scores: HashMap::new(),
            hasher: RandomState::new(),
            digest: String::new(),
        };
        let mut digest = Sha256::new();
        let files = DataSpec::new("scores", path.to_string_lossy());
        for file in paths::files(&files, &[".jsonl"])? {
            lines(&file, |place, _, entry| {
                let wrong =
                    |problem: String| SetError::malformed_at(&file, &format!("line {place}"), problem);
                let Scored {
                    key,
                    captions,
                    scores,
                } = serde_json::from_value(Value::Object(entry))
                    .map_err(|error| wrong(format!("it should be a line of `blip2 capfilt`: {error}")))?;
                if captions.0.len() != scores.len() {
                    let (captions, scores) = (captions.0.len(), scores.len());
                    return Err(wrong(format!("{captions} captions have {scores} scores")));
                }
                for (text, score) in captions.0.iter().zip(scores) {
                    for part in [key.as_bytes(), text.as_bytes(), &score.to_le_bytes()] {
                        digest.update((part.len() as u64).to_le_bytes());
                        digest.update(part);
                    }
                    let place = this.place(&key, text);
                    this.scores.insert(place, score);
                }
                Ok(())
            })?;
        }
        this.digest = format!("{:x}", digest.finalize());
        Ok(this)
    }

    /// What training cannot tell apart has one score.
    fn place(&self, key: &str, text: &str) -> u64 {
        self.hasher.hash_one((key, caption(text, "")))
    }
}

/// By what it decides, without millions of scores.
impl Debug for Similarity {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Similarity")
            .field("least", &self.least)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Filter for Similarity {
    fn reason(&self) -> &'static str {
        "similarity"
    }

    fn refuse(&self, sample: &Sample) -> Option<String> {
        sample.texts.iter().find_map(|text| {
            let score = self.scores.get(&self.place(&sample.key, text));
            match score {
                Some(score) if *score >= self.least => None,
                Some(score) => Some(format!(
                    "a caption of similarity {score:.3}, below {}: `{text}`",
                    self.least
                )),
                None => Some(format!(
                    "a caption that the file of scores does not know: `{text}`"
                )),
            }
        })
    }
}
