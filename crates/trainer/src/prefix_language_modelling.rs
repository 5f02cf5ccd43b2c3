//! Prefix language modelling (paper section 3.3): an encoder-decoder model reads the beginning of a text behind the image, and
//! learns to write the rest.

use std::ops::Range;

use blip2_data::Stream;

use crate::{Row, RowSource, TrainError};

/// Rows whose texts are cut in two at random: the first part becomes the prompt, the second is learned.
///
/// The paper does not say where a text is cut, and LAVIS has no code for it. This is what its author describes: between words,
/// behind the first at the earliest and in the middle of the text at the latest, each place as likely as the others. A text of
/// one word has nothing in front. A row that has a prompt already, such as a question, is left as it is.
pub struct PrefixRows<S> {
    /// Whole texts.
    pub rows: S,
    /// Decides the cuts, with step and place in the batch.
    pub seed: u64,
}

impl<S: RowSource> RowSource for PrefixRows<S> {
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError> {
        let rows = self.rows.rows(step)?;
        Ok(self.cut(step, 0, rows))
    }

    fn some_rows(&mut self, step: u64, places: Range<usize>) -> Result<Vec<Row>, TrainError> {
        let rows = self.rows.some_rows(step, places.clone())?;
        Ok(self.cut(step, places.start, rows))
    }
}

impl<S> PrefixRows<S> {
    /// Cuts the texts of `rows`, which stand at `first` and on among those of `step`.
    fn cut(&self, step: u64, first: usize, rows: Vec<Row>) -> Vec<Row> {
        let mut draw = Stream::new(self.seed, "prefix language modelling", step);
        // Drawn for every row, so that a row's cut does not depend on what the others are, or where they are.
        let shares = std::iter::repeat_with(|| draw.unit()).skip(first);
        let cut = |(row, share): (Row, f32)| match row.prompt {
            Some(_) => row,
            None => cut(row, share),
        };
        rows.into_iter().zip(shares).map(cut).collect()
    }
}

/// `share`, from 0 to below 1, says which of the places is taken.
fn cut(row: Row, share: f32) -> Row {
    let words: Vec<&str> = row.text.split_whitespace().collect();
    let places = words.len() / 2;
    let first = match places {
        0 => 0,
        _ => 1 + ((share * places as f32) as usize).min(places - 1),
    };
    let (prefix, rest) = words.split_at(first);
    Row {
        prompt: Some(prefix.join(" ")),
        text: rest.join(" "),
        ..row
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Same(&'static str);

    impl RowSource for Same {
        fn rows(&mut self, _: u64) -> Result<Vec<Row>, TrainError> {
            let row = || Row {
                text: self.0.to_owned(),
                ..Row::default()
            };
            let asked = Row {
                prompt: Some("Question: what? Answer:".to_owned()),
                ..row()
            };
            Ok(vec![row(), asked, row()])
        }
    }

    fn prefixes(text: &'static str) -> BTreeMap<String, usize> {
        let mut source = PrefixRows {
            rows: Same(text),
            seed: 3,
        };
        let mut counts = BTreeMap::new();
        for step in 1..=600 {
            let rows = source.rows(step).expect("rows");
            for row in [&rows[0], &rows[2]] {
                let prompt = row.prompt.as_deref().expect("a prefix");
                let whole = format!("{prompt} {}", row.text);
                assert_eq!(whole.trim_start(), text);
                *counts.entry(prompt.to_owned()).or_insert(0) += 1;
            }
            assert_eq!(
                (rows[1].text.as_str(), rows[1].prompt.as_deref()),
                (text, Some("Question: what? Answer:"))
            );
        }
        counts
    }

    #[test]
    fn every_place_up_to_the_middle_is_as_likely() {
        let counts = prefixes("a fox to the left of a pizza");
        let names: Vec<&str> = counts.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a fox", "a fox to", "a fox to the"]);
        // 1,200 draws over four places: four deviations of a fair draw are 60.
        assert!(
            counts.values().all(|count| count.abs_diff(300) < 60),
            "{counts:?}"
        );
    }

    #[test]
    fn short_texts_keep_a_word_to_learn() {
        assert_eq!(prefixes("fox").into_keys().collect::<Vec<_>>(), [""]);
        assert_eq!(prefixes("red fox").into_keys().collect::<Vec<_>>(), ["red"]);
        assert_eq!(prefixes("a red fox").into_keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_cut_is_decided_by_seed_and_step() {
        let at = |seed, step| {
            let rows = Same("one two three four five six seven eight nine ten");
            PrefixRows { rows, seed }.rows(step).expect("rows")[0]
                .prompt
                .clone()
        };
        assert_eq!(at(1, 5), at(1, 5));
        let drawn: std::collections::BTreeSet<_> = (1..40).map(|step| at(1, step)).collect();
        assert_eq!(drawn.len(), 5);
    }
}
