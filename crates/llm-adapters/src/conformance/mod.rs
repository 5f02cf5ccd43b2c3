//! What every language model behind the bridge must do, as a suite to run on one's own.
//!
//! ```
//! use blip2_llm_adapters::{Architecture, Llama, LlamaConfig, conformance};
//! use burn::tensor::Device;
//!
//! let config = LlamaConfig {
//!     architecture: Architecture::Llama,
//!     hidden_size: 16,
//!     intermediate_size: 24,
//!     layers: 1,
//!     heads: 2,
//!     key_heads: 1,
//!     head_width: 8,
//!     vocabulary_size: 20,
//!     positions: 32,
//!     norm_epsilon: 1e-5,
//!     rope_theta: 1e4,
//!     rope_factors: Vec::new(),
//!     tied: true,
//! };
//! let device = Device::flex();
//! conformance::check(&Llama::new(config, 0, &device), &device).unwrap();
//! ```

mod interleaved;
mod joining;

use std::slice::from_ref;

use blip2_core::{LanguageModel, ModelError, NextTokenModel, TextExample};
use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

/// Queries of the soft prompts that the suite makes.
const QUERIES: usize = 3;

/// How far two ways to the same number may lie apart, relative to the largest number, if nothing else is said.
const TOLERANCE: f64 = 1e-3;

/// A property that a language model lacks.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The model refused an input that it must take.
    #[error("{property}: the model refused a good input")]
    Refused {
        /// What was checked.
        property: &'static str,
        /// What the model said.
        #[source]
        source: ModelError,
    },
    /// The model did something else than it must.
    #[error("{property}: {detail}")]
    Broken {
        /// What was checked.
        property: &'static str,
        /// What happened instead.
        detail: String,
    },
}

/// Runs the whole suite on `model`, whose weights live on `device`: shapes, independence of the rows of a batch, a
/// gradient that reaches every soft prompt, step-wise reading that agrees with reading at once, beams that fan out, texts that
/// join others at any time, pictures between words, also in training where the model takes several, and errors for bad input. The vocabulary must have at least 8 ids.
///
/// # Errors
/// The first [`Violation`].
pub fn check(model: &dyn LanguageModel, device: &Device) -> Result<(), Violation> {
    check_within(model, device, TOLERANCE)
}

/// [`check`] of a model whose ways to the same number may lie further apart, relative to the largest number: few rows are
/// multiplied with packed levels as they are, more rows with levels rounded to bfloat16.
///
/// # Errors
/// The first [`Violation`].
pub fn check_within(model: &dyn LanguageModel, device: &Device, tolerance: f64) -> Result<(), Violation> {
    let suite = Suite {
        model,
        tolerance,
        device: device.clone().inner(),
    };
    suite.embeddings_have_a_scale()?;
    suite.rows_of_a_batch_are_independent()?;
    suite.the_gradient_reaches_the_soft_prompt()?;
    suite.steps_agree_with_the_loss()?;
    suite.logits_end_where_writing_goes_on()?;
    suite.beams_follow_their_parents()?;
    suite.texts_join_at_any_time()?;
    suite.what_is_kept_is_of_use_to_others()?;
    suite.pictures_stand_between_words()?;
    suite.what_cannot_join_is_an_error()?;
    suite.pairs_of_one_text_are_learned_where_they_stand()?;
    suite.bad_input_is_an_error()
}

struct Suite<'a> {
    model: &'a dyn LanguageModel,
    tolerance: f64,
    device: Device,
}

impl Suite<'_> {
    /// `[rows, QUERIES, hidden]` of smooth numbers that differ everywhere.
    fn soft_prompt(&self, rows: usize) -> Tensor<3> {
        let shape = [rows, QUERIES, self.model.hidden_size()];
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|index| (index as f32 * 0.7).sin() * 0.5)
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Examples of different lengths, one of them without a prompt.
    fn examples(&self) -> Vec<TextExample> {
        let id = |number: u32| number % self.model.vocabulary_size() as u32;
        vec![
            TextExample {
                prompt: vec![id(3), id(5)],
                target: vec![id(7), id(4), id(6)],
            },
            TextExample {
                prompt: vec![],
                target: vec![id(6)],
            },
            TextExample {
                prompt: vec![id(4)],
                target: vec![id(3), id(7), id(5), id(6)],
            },
        ]
    }

    fn embeddings_have_a_scale(&self) -> Result<(), Violation> {
        let property = "the word embeddings have a scale";
        let deviation = self.model.embedding_deviation();
        if !(deviation.is_finite() && deviation > 0.0) {
            return broken(
                property,
                format!("their standard deviation is given as {deviation}"),
            );
        }
        let id = 4 % self.model.vocabulary_size() as u32;
        let words = refused(property, self.model.word_embeddings(&[id, 0, id]))?;
        shape(property, &words, [3, self.model.hidden_size()])?;
        let (rows, width) = (numbers(words), self.model.hidden_size());
        match rows[..width] == rows[2 * width..] && rows[..width] != rows[width..2 * width] {
            true => Ok(()),
            false => broken(
                property,
                format!("those of {id}, 0 and {id} do not tell words apart"),
            ),
        }
    }

    fn rows_of_a_batch_are_independent(&self) -> Result<(), Violation> {
        let property = "a row of a batch gives what it gives alone";
        let examples = self.examples();
        let soft = self.soft_prompt(examples.len());
        let together = scalar(property, self.model.loss(soft.clone(), &examples))?;
        let mut sum = 0.0;
        for (row, example) in examples.iter().enumerate() {
            let own = soft.clone().narrow(0, row, 1);
            let alone = scalar(property, self.model.loss(own, from_ref(example)))?;
            sum += alone * example.target.len() as f64;
        }
        let tokens: usize = examples.iter().map(|example| example.target.len()).sum();
        self.near(property, "loss", &[together], &[sum / tokens as f64])?;

        let prompts: Vec<Vec<u32>> = examples.into_iter().map(|example| example.prompt).collect();
        let together = self.start(property, soft.clone(), &prompts)?.logits();
        shape(property, &together, [prompts.len(), self.model.vocabulary_size()])?;
        for (row, prompt) in prompts.iter().enumerate() {
            let alone = self
                .start(property, soft.clone().narrow(0, row, 1), from_ref(prompt))?
                .logits();
            self.near(
                property,
                "logits",
                &numbers(together.clone().narrow(0, row, 1)),
                &numbers(alone),
            )?;
        }
        Ok(())
    }

    fn the_gradient_reaches_the_soft_prompt(&self) -> Result<(), Violation> {
        let property = "the gradient of the loss reaches every soft prompt";
        let examples = self.examples();
        let soft = self.soft_prompt(examples.len()).autodiff().require_grad();
        let loss = refused(property, self.model.loss(soft.clone(), &examples))?;
        if !loss.is_tracked() {
            return broken(property, "the loss is not part of the graph".to_owned());
        }
        let Some(gradient) = soft.grad(&loss.backward()) else {
            return broken(property, "there is none".to_owned());
        };
        for row in 0..examples.len() {
            let gradient = numbers(gradient.clone().narrow(0, row, 1));
            let largest = gradient
                .iter()
                .fold(0.0f64, |largest, value| largest.max(value.abs()));
            if !(largest > 0.0 && gradient.iter().all(|value| value.is_finite())) {
                return broken(property, format!("in row {row} its largest element is {largest}"));
            }
        }
        Ok(())
    }

    fn steps_agree_with_the_loss(&self) -> Result<(), Violation> {
        let property = "reading step by step agrees with reading at once";
        let examples = self.examples();
        let soft = self.soft_prompt(examples.len());
        let prompts: Vec<Vec<u32>> = examples.iter().map(|example| example.prompt.clone()).collect();
        let longest = examples
            .iter()
            .map(|example| example.target.len())
            .max()
            .unwrap_or(0);
        let rows: Vec<usize> = (0..examples.len()).collect();
        let mut text = self.start(property, soft.clone(), &prompts)?;
        let (mut sum, mut tokens) = (0.0, 0);
        for step in 0..longest {
            let logits = text.logits();
            for (row, example) in examples.iter().enumerate() {
                if let Some(target) = example.target.get(step) {
                    sum += surprise(&numbers(logits.clone().narrow(0, row, 1)), *target);
                    tokens += 1;
                }
            }
            let next: Vec<u32> = examples
                .iter()
                .map(|example| example.target.get(step).copied().unwrap_or(0))
                .collect();
            refused(property, text.advance(&rows, &next))?;
        }
        let loss = scalar(property, self.model.loss(soft, &examples))?;
        self.near(property, "loss", &[sum / f64::from(tokens)], &[loss])
    }

    fn logits_end_where_writing_goes_on(&self) -> Result<(), Violation> {
        let property = "the last of all logits are those of the text to write on";
        let soft = self.soft_prompt(1);
        for example in self.examples() {
            let mut text = self.start(property, soft.clone(), from_ref(&example.prompt))?;
            for token in &example.target {
                refused(property, text.advance(&[0], &[*token]))?;
            }
            let all = refused(property, self.model.logits(soft.clone(), from_ref(&example)))?;
            let [_, places, _] = all.dims();
            let last = all.narrow(1, places.saturating_sub(1), 1);
            self.near(property, "logits", &numbers(last), &numbers(text.logits()))?;
        }
        Ok(())
    }

    fn beams_follow_their_parents(&self) -> Result<(), Violation> {
        let property = "a beam continues the row that it names";
        let soft = self.soft_prompt(2);
        let prompts = vec![vec![3], vec![4, 5]];
        let mut beams = self.start(property, soft.clone(), &prompts)?;
        refused(property, beams.advance(&[1, 0, 1], &[6, 7, 3]))?;
        refused(property, beams.advance(&[2, 1], &[5, 4]))?;
        shape(property, &beams.logits(), [2, self.model.vocabulary_size()])?;
        for (beam, (row, tokens)) in [(1, [3, 5]), (0, [7, 4])].into_iter().enumerate() {
            let mut alone = self.start(property, soft.clone().narrow(0, row, 1), &prompts[row..=row])?;
            for token in tokens {
                refused(property, alone.advance(&[0], &[token]))?;
            }
            let followed = numbers(beams.logits().narrow(0, beam, 1));
            self.near(property, "logits", &followed, &numbers(alone.logits()))?;
        }
        Ok(())
    }

    fn bad_input_is_an_error(&self) -> Result<(), Violation> {
        let property = "bad input is an error";
        let outside = vec![self.model.vocabulary_size() as u32];
        let good = TextExample {
            prompt: vec![],
            target: vec![3],
        };
        let one = |prompt: &[u32], target: &[u32]| {
            [TextExample {
                prompt: prompt.to_vec(),
                target: target.to_vec(),
            }]
        };
        let soft = || self.soft_prompt(1);
        let refusals = [
            (
                "a word outside of the vocabulary",
                self.model.word_embeddings(&outside).is_err(),
            ),
            (
                "a target outside of the vocabulary",
                self.model.loss(soft(), &one(&[], &outside)).is_err(),
            ),
            (
                "a prompt outside of the vocabulary",
                self.model.loss(soft(), &one(&outside, &[3])).is_err(),
            ),
            (
                "a beginning outside of the vocabulary",
                self.model.start(soft(), from_ref(&outside)).is_err(),
            ),
            (
                "a batch without a target",
                self.model.loss(soft(), &one(&[3], &[])).is_err(),
            ),
            (
                "fewer soft prompts than texts",
                self.model.loss(soft(), &[good.clone(), good.clone()]).is_err(),
            ),
            (
                "a soft prompt of another width",
                self.model
                    .loss(Tensor::cat(vec![soft(), soft()], 2), from_ref(&good))
                    .is_err(),
            ),
        ];
        if let Some((what, _)) = refusals.iter().find(|(_, refused)| !refused) {
            return broken(property, format!("{what} was taken"));
        }
        let mut text = self.start(property, soft(), &[vec![3]])?;
        if text.advance(&[0], &outside).is_ok() {
            return broken(property, "a token outside of the vocabulary was taken".to_owned());
        }
        if text.advance(&[1], &[3]).is_ok() {
            return broken(property, "a parent that does not exist was taken".to_owned());
        }
        Ok(())
    }

    fn start(
        &self,
        property: &'static str,
        soft_prompt: Tensor<3>,
        prompts: &[Vec<u32>],
    ) -> Result<Box<dyn NextTokenModel + '_>, Violation> {
        refused(property, self.model.start(soft_prompt, prompts))
    }
}

fn refused<T>(property: &'static str, result: Result<T, ModelError>) -> Result<T, Violation> {
    result.map_err(|source| Violation::Refused { property, source })
}

fn broken<T>(property: &'static str, detail: String) -> Result<T, Violation> {
    Err(Violation::Broken { property, detail })
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn scalar(property: &'static str, loss: Result<Tensor<1>, ModelError>) -> Result<f64, Violation> {
    let values = numbers(refused(property, loss)?);
    match values[..] {
        [value] if value.is_finite() => Ok(value),
        _ => broken(property, format!("the loss is {values:?}, not one number")),
    }
}

fn shape(property: &'static str, logits: &Tensor<2>, expected: [usize; 2]) -> Result<(), Violation> {
    if logits.dims() == expected {
        return Ok(());
    }
    broken(
        property,
        format!("the logits are {:?}, {expected:?} was expected", logits.dims()),
    )
}

/// `-ln p[target]`.
fn surprise(logits: &[f64], target: u32) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    largest + sum.ln() - logits[target as usize]
}

impl Suite<'_> {
    fn near(
        &self,
        property: &'static str,
        what: &str,
        actual: &[f64],
        expected: &[f64],
    ) -> Result<(), Violation> {
        let largest = expected
            .iter()
            .fold(0.0f64, |largest, value| largest.max(value.abs()));
        let apart = actual
            .iter()
            .zip(expected)
            .fold(0.0f64, |apart, (a, b)| apart.max((a - b).abs()));
        if actual.len() == expected.len() && apart <= self.tolerance * largest.max(1.0) {
            return Ok(());
        }
        broken(
            property,
            format!("the {what} differ by {apart:e}, where the largest is {largest}"),
        )
    }
}
