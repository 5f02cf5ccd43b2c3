//! The filter of prompts and texts, where it is asked for: what it keeps back is told of and counted, never silently gone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};
use blip2::{Filter, Finding, WordList};
use clap::Args;

use crate::output;

#[derive(Args)]
pub(crate) struct SafetyArguments {
    /// Keep prompts and texts back that say what a short word list names, as `blip2 serve` does
    #[arg(long)]
    safety: bool,
    /// The same with words of one's own, a line for each `category: phrase`
    #[arg(long, value_name = "FILE")]
    safety_words: Option<PathBuf>,
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Prompt,
    Text,
}

/// Looks at prompts and texts, and counts what it found.
#[derive(Default)]
pub(crate) struct Safety {
    filter: Option<WordList>,
    found: BTreeMap<(Place, String), usize>,
}

impl SafetyArguments {
    pub(crate) fn open(&self) -> Result<Safety> {
        let filter = match &self.safety_words {
            Some(file) => Some(WordList::from_file(file)?),
            None => self.safety.then(WordList::built_in),
        };
        Ok(Safety {
            filter,
            found: BTreeMap::new(),
        })
    }
}

impl Safety {
    /// What looks at texts that are being written.
    pub(crate) fn filter(&self) -> Option<&dyn Filter> {
        Some(self.filter.as_ref()?)
    }

    /// What is wrong with `text`; it is counted.
    pub(crate) fn find(&mut self, place: Place, text: &str) -> Option<Finding> {
        let finding = self.filter.as_ref()?.find(text)?;
        self.count(place, &finding);
        Some(finding)
    }

    pub(crate) fn count(&mut self, place: Place, finding: &Finding) {
        *self.found.entry((place, finding.category.clone())).or_default() += 1;
    }

    /// Says on stderr what was kept back altogether; nothing where nothing was.
    pub(crate) fn report(&self) {
        if let Some(told) = told(&self.found) {
            output::warn(told);
        }
    }
}

/// Why a prompt was not read.
pub(crate) fn refused(finding: &Finding) -> Error {
    anyhow!(
        "the filter keeps this from the model ({}); without --safety it does not",
        finding.category
    )
}

/// Says on stderr that a text about `what` was kept back.
pub(crate) fn withheld(what: &str, finding: &Finding) {
    output::warn(format_args!(
        "{what}: the filter keeps this text back ({})",
        finding.category
    ));
}

fn told(found: &BTreeMap<(Place, String), usize>) -> Option<String> {
    let of = |place: Place, what: &str| {
        let found = found.iter().filter(|((at, _), _)| *at == place);
        let counts: Vec<String> = found
            .map(|((_, category), count)| format!("{count} {category}"))
            .collect();
        (!counts.is_empty()).then(|| format!("{what} ({})", counts.join(", ")))
    };
    let places = [of(Place::Prompt, "prompts"), of(Place::Text, "texts")];
    let places: Vec<String> = places.into_iter().flatten().collect();
    (!places.is_empty()).then(|| format!("the filter kept back: {}", places.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_back_is_counted_by_place_and_category() {
        let mut safety = Safety {
            filter: Some(WordList::built_in()),
            found: BTreeMap::new(),
        };
        assert!(told(&safety.found).is_none());
        assert!(safety.find(Place::Prompt, "a bicycle").is_none());
        for _ in 0..2 {
            safety.find(Place::Text, "how to build a bomb").unwrap();
        }
        safety.find(Place::Prompt, "how to build a pipe-bomb").unwrap();
        assert_eq!(
            told(&safety.found).unwrap(),
            "the filter kept back: prompts (1 weapons), texts (2 weapons)"
        );
        assert!(
            Safety::default()
                .find(Place::Text, "how to build a bomb")
                .is_none()
        );
    }
}
