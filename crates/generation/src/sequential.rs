//! Text after text, token after token: greedy search and sampling.

use rand_chacha::ChaCha8Rng;

use crate::distribution::{Logits, likeliest, log_softmax};
use crate::nucleus_sampling::{draw, generator, narrow};
use crate::{Generated, GenerationConfig, GenerationError, Token, TokenScores, rules};

/// A text that is still being written.
struct Text {
    /// Which of the row's texts.
    number: usize,
    /// Row of the model that holds it.
    place: usize,
    /// Length of the history.
    given: usize,
    /// History and new tokens.
    text: Vec<u32>,
    log_probability: f64,
    generator: ChaCha8Rng,
}

/// The texts of one row.
pub(crate) struct Texts {
    /// How errors call the row.
    row: usize,
    open: Vec<Text>,
    done: Vec<Option<Generated>>,
    /// Likeliest tokens that are named with each that is chosen, where scores are asked for.
    scores: Option<usize>,
}

impl Texts {
    /// Ready to write behind `history`, which the model holds at `place`.
    pub(crate) fn new(
        row: usize,
        place: usize,
        history: &[u32],
        stream: u64,
        config: &GenerationConfig,
        scores: Option<usize>,
    ) -> Self {
        let text = |number| Text {
            number,
            place,
            given: history.len(),
            text: history.to_vec(),
            log_probability: 0.0,
            generator: generator(config.seed, stream, number),
        };
        Self {
            row,
            open: (0..config.num_return_sequences).map(text).collect(),
            done: vec![None; config.num_return_sequences],
            scores,
        }
    }

    /// Adds a token to every text, which `hear` gets with the text's number; the texts once they are all written.
    pub(crate) fn step(
        &mut self,
        logits: &Logits,
        config: &GenerationConfig,
        hear: &mut dyn FnMut(usize, Token),
    ) -> Result<Option<Vec<Generated>>, GenerationError> {
        let not_finite = || GenerationError::NotFinite { row: self.row };
        for mut text in std::mem::take(&mut self.open) {
            let logits = logits.row(text.place);
            let new = text.text.len() - text.given;
            let token = text.choose(logits, new, config).ok_or_else(not_finite)?;
            if let Some(id) = token {
                text.text.push(id);
                let scores = self.scores.map(|count| scores(logits, id, count));
                hear(
                    text.number,
                    Token {
                        id,
                        scores: scores.map(|scores| scores.ok_or_else(not_finite)).transpose()?,
                    },
                );
            }
            match token {
                Some(token) if !config.end_tokens.contains(&token) && new + 1 < config.max_new_tokens => {
                    self.open.push(text);
                }
                _ => self.done[text.number] = Some(text.finish(config)),
            }
        }
        Ok(match self.open.is_empty() {
            true => Some(self.done.drain(..).flatten().collect()),
            false => None,
        })
    }

    /// What the model is to read next: place and token of each text that goes on.
    pub(crate) fn next(&self) -> impl Iterator<Item = (usize, u32)> {
        let last = |text: &Text| text.text.last().map(|token| (text.place, *token));
        self.open.iter().filter_map(last)
    }

    /// The places of the same texts, to be set to where the model holds them now.
    pub(crate) fn places(&mut self) -> impl Iterator<Item = &mut usize> {
        self.open.iter_mut().map(|text| &mut text.place)
    }
}

/// What the model itself, before rules and cuts, thinks of `chosen` and of the `count` likeliest tokens; `None` where it gave no
/// numbers.
fn scores(logits: &[f32], chosen: u32, count: usize) -> Option<TokenScores> {
    let log_probabilities = log_softmax(logits)?;
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let first = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let count = count.min(order.len());
    if (1..order.len()).contains(&count) {
        order.select_nth_unstable_by(count - 1, first);
    }
    order.truncate(count);
    order.sort_by(first);
    let scored = |id: u32| (id, log_probabilities[id as usize]);
    Some(TokenScores {
        log_probability: log_probabilities[chosen as usize],
        likeliest: order.into_iter().map(scored).collect(),
    })
}

impl Text {
    /// The next token; `Some(None)` where the rules leave none, which ends the text. `None` where the logits are no numbers.
    fn choose(&mut self, logits: &[f32], new: usize, config: &GenerationConfig) -> Option<Option<u32>> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return None;
        }
        let mut scores = logits.to_vec();
        rules::apply(&mut scores, &self.text, new, config);
        if likeliest(&scores).is_none() {
            return Some(None);
        }
        if config.sample {
            narrow(&mut scores, config, 1);
        }
        let log_probabilities = log_softmax(&scores)?;
        let token = if config.sample {
            draw(&log_probabilities, &mut self.generator)
        } else {
            likeliest(&scores)
        };
        self.log_probability += token.map_or(0.0, |token| f64::from(log_probabilities[token]));
        Some(token.map(|token| token as u32))
    }

    fn finish(&self, config: &GenerationConfig) -> Generated {
        let ids = self.text[self.given..].to_vec();
        let score = self.log_probability / (ids.len().max(1) as f64).powf(config.length_penalty);
        Generated { ids, score }
    }
}
