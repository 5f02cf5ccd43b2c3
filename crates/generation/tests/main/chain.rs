//! A language model small enough to try everything.

use blip2_core::{ModelError, NextTokenModel, OpenTexts, Segment};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The logits of the next token depend on the last two tokens.
#[derive(Clone)]
pub(crate) struct Chain {
    vocabulary: usize,
    /// `[vocabulary, vocabulary, vocabulary]`.
    logits: Vec<f32>,
    rows: Vec<[u32; 2]>,
    /// Rows fed in all, to see what a search costs.
    pub(crate) fed: usize,
}

impl Chain {
    /// Longest text.
    pub(crate) const POSITIONS: usize = 40;

    /// Random logits; row `i` begins as if it had read tokens 0 and `i`.
    pub(crate) fn new(seed: u64, vocabulary: usize, rows: usize) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let logits = (0..vocabulary.pow(3))
            .map(|_| generator.random::<f32>() * 4.0 - 2.0)
            .collect();
        let rows = (0..rows).map(|row| [0, row as u32]).collect();
        Self {
            vocabulary,
            logits,
            rows,
            fed: 0,
        }
    }

    /// Only the given row.
    pub(crate) fn row(&self, row: usize) -> Self {
        Self {
            rows: vec![self.rows[row]],
            ..self.clone()
        }
    }

    /// The first row, `rows` times.
    pub(crate) fn repeated(&self, rows: usize) -> Self {
        Self {
            rows: vec![self.rows[0]; rows],
            ..self.clone()
        }
    }

    /// Replaces all logits.
    pub(crate) fn with_logits(mut self, logit: impl Fn(usize) -> f32) -> Self {
        self.logits
            .iter_mut()
            .enumerate()
            .for_each(|(index, value)| *value = logit(index % self.vocabulary));
        self
    }

    fn logits_after(&self, [first, second]: [u32; 2]) -> &[f32] {
        let start = (first as usize * self.vocabulary + second as usize) * self.vocabulary;
        &self.logits[start..start + self.vocabulary]
    }

    /// Sum of the log-probabilities of `ids`, written in row `row`.
    pub(crate) fn log_probability(&self, row: usize, ids: &[u32]) -> f64 {
        let mut state = self.rows[row];
        ids.iter()
            .map(|id| {
                let logits = self.logits_after(state);
                let normalizer = logits
                    .iter()
                    .map(|logit| f64::from(*logit).exp())
                    .sum::<f64>()
                    .ln();
                state = [state[1], *id];
                f64::from(logits[*id as usize]) - normalizer
            })
            .sum()
    }

    /// Every text of at most `longest` tokens: one that ends with `end`, or one of full length.
    pub(crate) fn all_texts(&self, longest: usize, end: u32) -> Vec<Vec<u32>> {
        let mut done = Vec::new();
        let mut open: Vec<Vec<u32>> = vec![Vec::new()];
        while let Some(text) = open.pop() {
            for token in 0..self.vocabulary as u32 {
                let text = [&text[..], &[token]].concat();
                let over = token == end || text.len() == longest;
                if over { done.push(text) } else { open.push(text) }
            }
        }
        done
    }
}

impl NextTokenModel for Chain {
    fn logits(&self) -> Tensor<2> {
        let values: Vec<f32> = self
            .rows
            .iter()
            .flat_map(|row| self.logits_after(*row).to_vec())
            .collect();
        Tensor::from_data(
            TensorData::new(values, [self.rows.len(), self.vocabulary]),
            &Device::flex(),
        )
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        assert_eq!(parents.len(), tokens.len());
        self.fed += tokens.len();
        self.rows = parents
            .iter()
            .zip(tokens)
            .map(|(parent, token)| [self.rows[*parent][1], *token])
            .collect();
        Ok(())
    }
}

impl OpenTexts for Chain {
    /// Begins behind the last two ids.
    fn admit(&mut self, prompt: &[Segment]) -> Result<(), ModelError> {
        match prompt {
            [Segment::Ids(ids)] if ids.len() >= 2 => {
                self.rows.push([ids[ids.len() - 2], ids[ids.len() - 1]]);
                Ok(())
            }
            _ => Err(ModelError::Invalid("two ids are needed".to_owned())),
        }
    }

    /// As a model with [`Chain::POSITIONS`] would have.
    fn room(&self, prompt: &[Segment]) -> Option<usize> {
        Some(Self::POSITIONS + 1 - prompt.iter().map(Segment::places).sum::<usize>())
    }
}
