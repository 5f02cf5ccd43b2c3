//! Beam search, decision for decision as `transformers` 5 makes it (`GenerationMixin._beam_search` with
//! `early_stopping=False`).
//!
//! The running beams of a row grow by one token a step. Of the best continuations, those within the first `num_beams` that
//! end become finished texts, ranked by length-penalised score; the best that do not end run on. A row is over when its
//! best running beam, scored at its present length, no longer beats the worst of a full list of finished texts.

use blip2_core::NextTokenModel;

use crate::distribution::{Candidate, Logits, best, log_softmax};
use crate::{Generated, GenerationConfig, GenerationError, rules};

struct Beam {
    /// Row of the model that holds this beam.
    place: usize,
    /// History and new tokens.
    text: Vec<u32>,
    /// Sum of log-probabilities, in single precision as in the reference: sums decide ties.
    score: f32,
}

struct Row {
    index: usize,
    /// Length of the history.
    given: usize,
    running: Vec<Beam>,
    /// Best first, at most `num_beams`.
    finished: Vec<Generated>,
}

pub(crate) fn search(
    model: &mut dyn NextTokenModel,
    history: &[Vec<u32>],
    config: &GenerationConfig,
    callback: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Generated>, GenerationError> {
    let mut rows: Vec<Row> = history
        .iter()
        .enumerate()
        .map(|(index, text)| Row::new(index, text))
        .collect();
    let mut done: Vec<Option<Generated>> = vec![None; rows.len()];
    for new in 0..config.max_new_tokens {
        let logits = Logits::of(model);
        let mut open = Vec::new();
        for mut row in rows {
            if row.step(&logits, new, config)? {
                open.push(row);
            } else if let Some(text) = row.finished.into_iter().next() {
                text.ids.iter().for_each(|token| callback(row.index, *token));
                done[row.index] = Some(text);
            }
        }
        rows = open;
        if rows.is_empty() {
            break;
        }
        let beams = || rows.iter().flat_map(|row| &row.running);
        let parents: Vec<usize> = beams().map(|beam| beam.place).collect();
        let tokens: Vec<u32> = beams().filter_map(|beam| beam.text.last().copied()).collect();
        model.advance(&parents, &tokens)?;
        rows.iter_mut()
            .flat_map(|row| &mut row.running)
            .enumerate()
            .for_each(|(place, beam)| beam.place = place);
    }
    Ok(done.into_iter().flatten().collect())
}

impl Row {
    fn new(index: usize, history: &[u32]) -> Self {
        let only = Beam {
            place: index,
            text: history.to_vec(),
            score: 0.0,
        };
        Self {
            index,
            given: history.len(),
            running: vec![only],
            finished: Vec::new(),
        }
    }

    /// Grows every beam by a token. False when the row is over.
    fn step(
        &mut self,
        logits: &Logits,
        new: usize,
        config: &GenerationConfig,
    ) -> Result<bool, GenerationError> {
        let mut scores = Vec::with_capacity(self.running.len());
        for beam in &self.running {
            let mut beam_scores =
                log_softmax(logits.row(beam.place)).ok_or(GenerationError::NotFinite { row: self.index })?;
            rules::apply(&mut beam_scores, &beam.text, new, config);
            scores.push(beam_scores);
        }
        // Enough that `num_beams` go on even if every beam ends in every possible way.
        let considered = config.num_beams * (1 + config.end_tokens.len()).max(2);
        let candidates = best(self.continuations(&scores), considered);
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
        self.running = candidates
            .iter()
            .filter(|candidate| !ends(candidate))
            .take(config.num_beams)
            .map(|candidate| Beam {
                place: self.running[candidate.beam].place,
                text: self.extended(candidate),
                score: candidate.score,
            })
            .collect();
        Ok(self.can_improve(length, config))
    }

    fn continuations<'a>(&'a self, scores: &'a [Vec<f32>]) -> impl Iterator<Item = Candidate> + 'a {
        self.running
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

    fn can_improve(&self, length: usize, config: &GenerationConfig) -> bool {
        let (Some(running), worst) = (self.running.first(), self.finished.last()) else {
            return false;
        };
        match worst {
            Some(worst) if self.finished.len() == config.num_beams => {
                penalized(running.score, length, config) > worst.score
            }
            _ => true,
        }
    }
}

fn penalized(score: f32, length: usize, config: &GenerationConfig) -> f64 {
    f64::from(score) / (length.max(1) as f64).powf(config.length_penalty)
}
