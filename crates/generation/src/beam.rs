//! Beam search, decision for decision as `transformers` 5 makes it (`GenerationMixin._beam_search`).
//!
//! The running beams of a row grow by one token a step. Of the best continuations, or of those that are drawn, the ones
//! within the first `num_beams` that end become finished texts, ranked by length-penalised score; the best that do not end
//! run on. A row whose list of finished texts is full is over when `early_stopping` says so.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::distribution::{Candidate, Logits, best, drawn, log_softmax};
use crate::nucleus_sampling::{generator, narrow};
use crate::{EarlyStopping, Generated, GenerationConfig, GenerationError, rules};

struct Beam {
    /// Row of the model that holds this beam.
    place: usize,
    /// History and new tokens.
    text: Vec<u32>,
    /// Sum of log-probabilities, in single precision as in the reference: sums decide ties.
    score: f32,
}

/// The beams of one row.
pub(crate) struct Beams {
    /// How errors call the row.
    row: usize,
    /// Length of the history.
    given: usize,
    running: Vec<Beam>,
    /// Best first, at most `num_beams`.
    finished: Vec<Generated>,
    generator: ChaCha8Rng,
}

impl Beams {
    /// Ready to grow behind `history`, which the model holds at `place`.
    pub(crate) fn new(
        row: usize,
        place: usize,
        history: Vec<u32>,
        stream: u64,
        config: &GenerationConfig,
    ) -> Self {
        let given = history.len();
        let only = Beam {
            place,
            text: history,
            score: 0.0,
        };
        Self {
            row,
            given,
            running: vec![only],
            finished: Vec::new(),
            generator: generator(config.seed, stream, 0),
        }
    }

    /// Grows every beam by a token; the texts once they are all written.
    pub(crate) fn step(
        &mut self,
        logits: &Logits,
        config: &GenerationConfig,
    ) -> Result<Option<Vec<Generated>>, GenerationError> {
        match self.grow(logits, config)? {
            true => Ok(None),
            false => self.texts(config).map(Some),
        }
    }

    /// What the model is to read next: place and token of each beam that goes on.
    pub(crate) fn next(&self) -> impl Iterator<Item = (usize, u32)> {
        let last = |beam: &Beam| beam.text.last().map(|token| (beam.place, *token));
        self.running.iter().filter_map(last)
    }

    /// The places of the same beams, to be set to where the model holds them now.
    pub(crate) fn places(&mut self) -> impl Iterator<Item = &mut usize> {
        self.running.iter_mut().map(|beam| &mut beam.place)
    }

    /// False when the row is over.
    fn grow(&mut self, logits: &Logits, config: &GenerationConfig) -> Result<bool, GenerationError> {
        let new = self
            .running
            .first()
            .map_or(0, |beam| beam.text.len() - self.given);
        let scores = |beam: &Beam| {
            let mut scores = log_softmax(logits.row(beam.place))?;
            rules::apply(&mut scores, &beam.text, new, config);
            if config.sample {
                // Enough that one can go on whatever ends.
                narrow(&mut scores, config, config.end_tokens.len().max(1) + 1);
            }
            Some(scores)
        };
        let scores: Option<Vec<Vec<f32>>> = self.running.par_iter().map(scores).collect();
        let scores = scores.ok_or(GenerationError::NotFinite { row: self.row })?;
        // Enough that `num_beams` go on even if every beam ends in every possible way.
        let considered = config.num_beams * (1 + config.end_tokens.len()).max(2);
        let continuations = continuations(&self.running, &scores);
        let candidates = match config.sample {
            true => drawn(continuations, considered, &mut self.generator),
            false => best(continuations, considered),
        };
        if candidates.is_empty() {
            self.stop_here(new, config);
            return Ok(false);
        }
        let length = new + 1;
        let ends = |candidate: &Candidate| {
            length == config.max_new_tokens || config.end_tokens.contains(&(candidate.token as u32))
        };
        for candidate in candidates
            .iter()
            .take(config.num_beams)
            .filter(|candidate| ends(candidate))
        {
            let text = self.extended(candidate);
            self.finish(&text, candidate.score, length, config);
        }
        let mut going = candidates;
        going.retain(|candidate| !ends(candidate));
        going.sort_by(|a, b| b.score.total_cmp(&a.score));
        going.truncate(config.num_beams);
        self.running = going
            .iter()
            .map(|candidate| Beam {
                place: self.running[candidate.beam].place,
                text: self.extended(candidate),
                score: candidate.score,
            })
            .collect();
        Ok(self.goes_on(length, config))
    }

    fn extended(&self, candidate: &Candidate) -> Vec<u32> {
        let mut text = self.running[candidate.beam].text.clone();
        text.push(candidate.token as u32);
        text
    }

    /// The rules leave no token at all: what is written so far is the text.
    fn stop_here(&mut self, length: usize, config: &GenerationConfig) {
        for beam in std::mem::take(&mut self.running) {
            self.finish(&beam.text, beam.score, length, config);
        }
    }

    fn finish(&mut self, text: &[u32], score: f32, length: usize, config: &GenerationConfig) {
        let score = penalized(score, length, config);
        let place = self.finished.partition_point(|other| other.score >= score);
        self.finished.insert(
            place,
            Generated {
                ids: text[self.given..].to_vec(),
                score,
            },
        );
        self.finished.truncate(config.num_beams);
    }

    fn goes_on(&self, length: usize, config: &GenerationConfig) -> bool {
        let Some(running) = self.running.first() else {
            return false;
        };
        let Some(worst) = self.finished.get(config.num_beams - 1) else {
            return true;
        };
        let length = match config.early_stopping {
            EarlyStopping::WhenFull => return false,
            EarlyStopping::Never if config.length_penalty > 0.0 => config.max_new_tokens,
            EarlyStopping::Never | EarlyStopping::Estimated => length,
        };
        penalized(running.score, length, config) > worst.score
    }

    /// The best of the finished texts, as many as are asked for.
    fn texts(&self, config: &GenerationConfig) -> Result<Vec<Generated>, GenerationError> {
        let (found, wanted) = (self.finished.len(), config.num_return_sequences);
        let texts = self.finished.get(..wanted).ok_or(GenerationError::TooFew {
            row: self.row,
            found,
            wanted,
        })?;
        Ok(texts.to_vec())
    }
}

/// Each beam with each token.
fn continuations<'a>(running: &'a [Beam], scores: &'a [Vec<f32>]) -> impl Iterator<Item = Candidate> + 'a {
    running
        .iter()
        .zip(scores)
        .enumerate()
        .flat_map(|(beam, (running, scores))| {
            let of_token = move |(token, score): (usize, &f32)| Candidate {
                beam,
                token,
                score: running.score + score,
            };
            scores.iter().enumerate().map(of_token)
        })
}

fn penalized(score: f32, length: usize, config: &GenerationConfig) -> f64 {
    f64::from(score) / (length.max(1) as f64).powf(config.length_penalty)
}
