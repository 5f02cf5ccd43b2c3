//! Text after text, token after token: greedy search and sampling.

use blip2_core::NextTokenModel;
use rand_chacha::ChaCha8Rng;

use crate::distribution::{Logits, draw, generator, likeliest, log_softmax, narrow};
use crate::{Generated, GenerationConfig, GenerationError, rules};

/// A text that is still being written.
struct Text {
    /// Which of all texts.
    index: usize,
    /// Which row of the batch it belongs to.
    row: usize,
    /// Row of the model that holds it.
    place: usize,
    /// Length of the history.
    given: usize,
    /// History and new tokens.
    text: Vec<u32>,
    log_probability: f64,
    generator: ChaCha8Rng,
}

pub(crate) fn search(
    model: &mut dyn NextTokenModel,
    history: &[Vec<u32>],
    streams: &[u64],
    config: &GenerationConfig,
    callback: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Generated>, GenerationError> {
    let rows = history.iter().zip(streams).enumerate();
    let mut texts: Vec<Text> = rows
        .flat_map(|(row, (history, stream))| {
            (0..config.num_return_sequences).map(move |number| Text {
                index: row * config.num_return_sequences + number,
                row,
                place: row,
                given: history.len(),
                text: history.clone(),
                log_probability: 0.0,
                generator: generator(config.seed, *stream, number),
            })
        })
        .collect();
    let mut done: Vec<Option<Generated>> = vec![None; texts.len()];
    for new in 0..config.max_new_tokens {
        let logits = Logits::of(model);
        let (mut parents, mut tokens, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for mut text in texts {
            let token = text.choose(logits.row(text.place), new, config)?;
            if let Some(token) = token {
                text.text.push(token);
                callback(text.index, token);
            }
            match token {
                Some(token) if !config.end_tokens.contains(&token) && new + 1 < config.max_new_tokens => {
                    parents.push(text.place);
                    tokens.push(token);
                    text.place = open.len();
                    open.push(text);
                }
                _ => done[text.index] = Some(text.finish(config)),
            }
        }
        texts = open;
        if texts.is_empty() {
            break;
        }
        model.advance(&parents, &tokens)?;
    }
    Ok(done.into_iter().flatten().collect())
}

impl Text {
    /// The next token; `None` where the rules leave none, which ends the text.
    fn choose(
        &mut self,
        logits: &[f32],
        new: usize,
        config: &GenerationConfig,
    ) -> Result<Option<u32>, GenerationError> {
        let not_finite = || GenerationError::NotFinite { row: self.row };
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(not_finite());
        }
        let mut scores = logits.to_vec();
        rules::apply(&mut scores, &self.text, new, config);
        if likeliest(&scores).is_none() {
            return Ok(None);
        }
        if config.sample {
            narrow(&mut scores, config, 1);
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

    fn finish(&self, config: &GenerationConfig) -> Generated {
        let ids = self.text[self.given..].to_vec();
        let score = self.log_probability / (ids.len().max(1) as f64).powf(config.length_penalty);
        Generated { ids, score }
    }
}
