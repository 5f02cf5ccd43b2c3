//! One text a row, token after token: greedy search and sampling.

use blip2_core::NextTokenModel;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::distribution::{Logits, draw, likeliest, log_softmax, narrow};
use crate::{Generated, GenerationConfig, GenerationError, rules};

/// A row that is still being written.
struct Row {
    index: usize,
    /// History and new tokens.
    text: Vec<u32>,
    log_probability: f64,
    generator: ChaCha8Rng,
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
        .map(|(index, text)| Row::new(index, text, config))
        .collect();
    let mut done: Vec<Option<Generated>> = vec![None; rows.len()];
    for new in 0..config.max_new_tokens {
        let logits = Logits::of(model);
        let (mut parents, mut tokens, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (place, mut row) in rows.into_iter().enumerate() {
            let token = row.choose(logits.row(place), new, config)?;
            if let Some(token) = token {
                row.text.push(token);
                callback(row.index, token);
            }
            match token {
                Some(token) if !config.end_tokens.contains(&token) && new + 1 < config.max_new_tokens => {
                    parents.push(place);
                    tokens.push(token);
                    open.push(row);
                }
                _ => done[row.index] = Some(row.finish(history, config)),
            }
        }
        rows = open;
        if rows.is_empty() {
            break;
        }
        model.advance(&parents, &tokens)?;
    }
    Ok(done.into_iter().flatten().collect())
}

impl Row {
    fn new(index: usize, history: &[u32], config: &GenerationConfig) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(config.seed);
        generator.set_stream(index as u64);
        Self {
            index,
            text: history.to_vec(),
            log_probability: 0.0,
            generator,
        }
    }

    /// The next token; `None` where the rules leave none, which ends the text.
    fn choose(
        &mut self,
        logits: &[f32],
        new: usize,
        config: &GenerationConfig,
    ) -> Result<Option<u32>, GenerationError> {
        let not_finite = || GenerationError::NotFinite { row: self.index };
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(not_finite());
        }
        let mut scores = logits.to_vec();
        rules::apply(&mut scores, &self.text, new, config);
        if likeliest(&scores).is_none() {
            return Ok(None);
        }
        if config.sample {
            narrow(&mut scores, config);
        }
        let log_probabilities = log_softmax(&scores).ok_or_else(not_finite)?;
        let token = if config.sample {
            draw(&log_probabilities, &mut self.generator)
        } else {
            likeliest(&scores)
        };
        self.log_probability += token.map_or(0.0, |token| f64::from(log_probabilities[token]));
        Ok(token.map(|token| token as u32))
    }

    fn finish(&self, history: &[Vec<u32>], config: &GenerationConfig) -> Generated {
        let ids = self.text[history[self.index].len()..].to_vec();
        let score = self.log_probability / (ids.len().max(1) as f64).powf(config.length_penalty);
        Generated { ids, score }
    }
}
