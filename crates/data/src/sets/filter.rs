//! What is kept out of a data set: captions of an unusual length, pictures of an unusual shape, words in a list, captions that say
//! little of their picture. A sample that a filter refuses is one that cannot be used: it is skipped, counted and listed like a damaged one,
//! but is no damage: any share may be refused.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::ImageReader;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::similarity::Similarity;
use super::{Dataset, Picture, Report, Sample, SampleError, SetError};

/// Decides which samples are used. Asked by many threads at once, always with the same answer for the same sample; what decides
/// stands in its `Debug` form, by which a run knows that it goes on with the same.
pub trait Filter: Debug + Send + Sync {
    /// The word by which refused samples are counted, in lower case with underscores.
    fn reason(&self) -> &'static str;

    /// Why `sample` is not to be used; `None` where it may be.
    fn refuse(&self, sample: &Sample) -> Option<String>;
}

/// The filters of a data set; what is absent filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterSpec {
    /// The fewest and the most words of each caption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<[usize; 2]>,
    /// How many times as long as the shorter side of a picture the longer one may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect: Option<f64>,
    /// A file with a word or phrase a line that no text may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<PathBuf>,
    /// The least similarity of each caption to the picture, a cosine,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// and where `blip2 capfilt` wrote what a retrieval model says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<PathBuf>,
}

impl FilterSpec {
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The filters themselves.
    ///
    /// # Errors
    /// A file that cannot be read, limits that nothing can keep.
    pub fn filters(&self) -> Result<Vec<Box<dyn Filter>>, SetError> {
        let mut filters: Vec<Box<dyn Filter>> = Vec::new();
        let wrong = |problem: String| SetError::Spec {
            spec: "filter".to_owned(),
            problem,
        };
        if let Some([least, most]) = self.words {
            if least > most {
                return Err(wrong(format!(
                    "`words` asks for {least} to {most} words: the fewest come first"
                )));
            }
            filters.push(Box::new(CaptionLength { least, most }));
        }
        if let Some(most) = self.aspect {
            if !(most.is_finite() && most >= 1.0) {
                return Err(wrong(format!("`aspect` is 1 or more, not {most}")));
            }
            filters.push(Box::new(Aspect { most }));
        }
        if let Some(path) = &self.list {
            filters.push(Box::new(WordList::read(path)?));
        }
        match (self.similarity, &self.scores) {
            (None, None) => {}
            (Some(least), Some(scores)) if (-1.0..=1.0).contains(&least) => {
                filters.push(Box::new(Similarity::read(least, scores)?));
            }
            (Some(least), Some(_)) => {
                return Err(wrong(format!("`similarity` is a cosine, -1 to 1, not {least}")));
            }
            (Some(_), None) => {
                return Err(wrong(
                    "`similarity` needs `scores`: what `blip2 capfilt --number 0` writes".to_owned(),
                ));
            }
            (None, Some(_)) => {
                return Err(wrong("`scores` mean nothing without `similarity`".to_owned()));
            }
        }
        Ok(filters)
    }
}

#[derive(Debug)]
struct CaptionLength {
    least: usize,
    most: usize,
}

impl Filter for CaptionLength {
    fn reason(&self) -> &'static str {
        "caption_length"
    }

    fn refuse(&self, sample: &Sample) -> Option<String> {
        sample.texts.iter().find_map(|text| {
            let words = text.split_whitespace().count();
            let fits = (self.least..=self.most).contains(&words);
            (!fits).then(|| format!("a caption of {words} words, not {} to {}", self.least, self.most))
        })
    }
}

#[derive(Debug)]
struct Aspect {
    most: f64,
}

impl Filter for Aspect {
    fn reason(&self) -> &'static str {
        "aspect"
    }

    /// A picture whose size cannot be told is left to whoever decodes it.
    fn refuse(&self, sample: &Sample) -> Option<String> {
        let (width, height) = match &sample.picture {
            Picture::Pixels(pixels) => pixels.dimensions(),
            Picture::Encoded(bytes) => {
                let reader = ImageReader::new(Cursor::new(bytes.as_ref()));
                reader.with_guessed_format().ok()?.into_dimensions().ok()?
            }
        };
        let (longer, shorter) = (f64::from(width.max(height)), f64::from(width.min(height)));
        (longer > self.most * shorter).then(|| {
            format!(
                "a picture of {width}x{height}, more than {} times as long as wide",
                self.most
            )
        })
    }
}

/// Words and phrases that texts must not hold, whatever their case and the punctuation between them.
#[derive(Clone, Debug, Default)]
pub struct WordList {
    /// Each phrase as its words, one blank apart, with one at either end.
    phrases: Vec<String>,
    /// What phrases begin with: most texts hold none of it.
    first: BTreeSet<String>,
}

impl WordList {
    /// Of `phrases`; those without a letter or digit say nothing and are left out.
    pub fn new<Phrase: AsRef<str>>(phrases: impl IntoIterator<Item = Phrase>) -> Self {
        let mut list = Self::default();
        for phrase in phrases {
            let words = words(phrase.as_ref());
            if let Some(first) = words.first() {
                list.first.insert(first.clone());
                list.phrases.push(format!(" {} ", words.join(" ")));
            }
        }
        list
    }

    /// Of a file with a phrase a line; lines that begin with `#` are notes.
    ///
    /// # Errors
    /// A file that cannot be read, or without any phrase.
    pub fn read(path: &Path) -> Result<Self, SetError> {
        let text = fs::read_to_string(path).map_err(SetError::reading(path))?;
        let list = Self::new(text.lines().filter(|line| !line.starts_with('#')));
        match list.phrases.is_empty() {
            true => Err(SetError::malformed(path, "it has no word: write one a line")),
            false => Ok(list),
        }
    }

    /// The first phrase of the list that `text` holds.
    pub fn found(&self, text: &str) -> Option<&str> {
        let words = words(text);
        if !words.iter().any(|word| self.first.contains(word)) {
            return None;
        }
        let text = format!(" {} ", words.join(" "));
        let phrase = self.phrases.iter().find(|phrase| text.contains(phrase.as_str()));
        phrase.map(|phrase| phrase.trim())
    }
}

impl Filter for WordList {
    fn reason(&self) -> &'static str {
        "listed_word"
    }

    fn refuse(&self, sample: &Sample) -> Option<String> {
        let question = sample.question.iter();
        let asked = question.flat_map(|question| {
            let answers = question.answers.iter().map(|answer| &answer.text);
            std::iter::once(&question.text).chain(answers)
        });
        let listed = sample
            .texts
            .iter()
            .chain(asked)
            .find_map(|text| self.found(text))?;
        Some(format!("a text with `{listed}`, which is listed"))
    }
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// A data set without the samples that `filters` refuse: to read one of them says which filter, and why.
pub fn filtered(inner: Box<dyn Dataset>, filters: Vec<Box<dyn Filter>>) -> Box<dyn Dataset> {
    Box::new(Filtered { inner, filters })
}

struct Filtered {
    inner: Box<dyn Dataset>,
    filters: Vec<Box<dyn Filter>>,
}

impl Dataset for Filtered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn runs(&self) -> Vec<u64> {
        self.inner.runs()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let sample = self.inner.read(index)?;
        for filter in &self.filters {
            if let Some(problem) = filter.refuse(&sample) {
                return Err(SampleError {
                    key: sample.key,
                    reason: filter.reason(),
                    problem,
                });
            }
        }
        Ok(sample)
    }

    fn key(&self, index: u64) -> Result<String, SampleError> {
        self.inner.key(index)
    }

    fn keeps_out(&self, reason: &str) -> bool {
        self.filters.iter().any(|filter| filter.reason() == reason) || self.inner.keeps_out(reason)
    }

    fn fingerprint(&self) -> String {
        let filters = Sha256::digest(format!("{:?}", self.filters));
        let digits: String = filters[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{digits}", self.inner.fingerprint())
    }

    fn reports(&self) -> Vec<Report> {
        self.inner.reports()
    }
}
