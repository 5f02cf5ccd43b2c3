//! Where stage 2 may begin: first weights of the projection to a language model that make of the queries something that it has
//! learned to read. The reference's ([`Linear::uniform`]) give whatever the width of the Q-Former makes of them.

use blip2_core::layers::Linear;
use blip2_core::{Initializer, ModelError};
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use crate::Bridge;

/// What is added to the second moments of the states before they are inverted, as a share of their mean.
const RIDGE: f64 = 0.1;

/// The deviation of random weights beside those that give words, as a share of what these make. Without them, the first steps
/// move the soft prompt along the few directions of these words alone, and the loss rises.
const RANDOM: f32 = 0.3;

/// What a projection must tell at least of what the words deviate by.
const LEAST_TOLD: f32 = 1e-4;

/// Below this share of their mean, words differ by rounding alone.
const ROUNDING: f32 = 1e-6;

/// Steps of conjugate gradients; the ridge bounds the condition of the system.
const STEPS: usize = 60;

impl Bridge {
    /// The same bridge with a new projection, at the scale that the language model reads: normal weights that give soft
    /// prompts of images like `features` `[batch, patches, encoder width]` the standard `deviation`, best that of the
    /// word embeddings ([`LanguageModel::embedding_deviation`](blip2_core::LanguageModel::embedding_deviation)), and the bias
    /// that makes their mean zero.
    ///
    /// PyTorch's weights are three times the scale of SmolLM2's words, and training first has to get rid of that. And most of
    /// what stage 1 leaves in a state is the same for all queries and images: without the bias, what tells images apart would
    /// begin far below that scale.
    ///
    /// # Errors
    /// As for [`Bridge::soft_prompt`]; [`ModelError::Invalid`] where all query states are the same.
    pub fn with_projection_at_scale(
        mut self,
        initializer: &mut Initializer,
        features: Tensor<3>,
        deviation: f64,
    ) -> Result<Self, ModelError> {
        // Off the tape: dropout is for training, and nothing learns from this pass.
        let plain = self.valid();
        let states = plain.query_states(plain.normalise(features.inner())?, None)?;
        let [_, _, width] = states.dims();
        let [hidden_size, _] = self.projection.weight.lazy_shape().dims();
        let (common, rest) = apart(states);
        let deviation = deviation as f32 / length(rest)?;
        self.projection = Linear::normal(initializer, width, hidden_size, deviation);
        let shift = self.projection.forward(common).neg().reshape([hidden_size]);
        self.projection.bias = Some(Param::from_tensor(shift.detach()));
        Ok(self)
    }

    /// The same bridge with a new projection that reads words off the query states `states` `[images, queries, width]`, as far
    /// as a linear map can: the ridge regression of `words` `[images, hidden]`, for each image the mean embedding of what is
    /// to be written of it ([`LanguageModel::word_embeddings`](blip2_core::LanguageModel::word_embeddings)), brought to the
    /// standard `deviation` about their mean. Beside it stand small random weights.
    ///
    /// A language model writes what it reads: from the first steps on the soft prompt holds some of the words that are wanted,
    /// and what is left to learn is their order, and what no bag of words tells.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where there are not as many words as images, [`ModelError::Invalid`] where all query states, or all
    /// words, are the same.
    pub fn with_projection_to_words(
        mut self,
        initializer: &mut Initializer,
        states: Tensor<3>,
        words: Tensor<2>,
        deviation: f64,
    ) -> Result<Self, ModelError> {
        let [images, queries, width] = states.dims();
        let [count, hidden_size] = words.dims();
        let [outputs, inputs] = self.projection.weight.lazy_shape().dims();
        if [count, hidden_size] != [images, outputs] {
            return Err(ModelError::Shape {
                tensor: "words",
                expected: format!("[{images}, {outputs}]"),
                actual: words.dims().to_vec(),
                hint: "give the mean embedding of each image's text, in the language model's width",
            });
        }
        if width != inputs {
            return Err(ModelError::Shape {
                tensor: "states",
                expected: format!("[images, queries, {inputs}]"),
                actual: states.dims().to_vec(),
                hint: "give the query states of this bridge",
            });
        }
        let (common, rest) = apart(states.inner());
        let own = length(rest.clone())?;
        let rows = (images * queries) as f64;
        let words = words.inner().cast(DType::F32);
        let mean = words.clone().mean_dim(0);
        let wanted = words - mean.clone();
        // All queries of an image are to tell the same words.
        let together = rest.clone().sum_dim(1).reshape([images, width]);
        let shared = together.transpose().matmul(wanted.clone()) / rows;
        let states = rest.reshape([images * queries, width]);
        let moments = states.clone().transpose().matmul(states) / rows;
        let ridge =
            Tensor::<2>::eye(width, &moments.device()) * (RIDGE * f64::from(own * own) / width as f64);
        let weight = solution(moments.clone() + ridge, shared).transpose();
        let deviation_of = |mean_square: Tensor<1>| mean_square.into_scalar::<f32>().max(0.0).sqrt();
        let made = deviation_of((weight.clone().matmul(moments) * weight.clone()).sum() / hidden_size as f64);
        let (differ, mean_of) = (deviation_of(wanted.square().mean()), mean.clone().square().mean());
        // What rounding leaves of words that are all the same tells nothing.
        let tells = made > LEAST_TOLD * differ && differ > ROUNDING * deviation_of(mean_of);
        if !(tells && made.is_finite()) {
            return Err(ModelError::Invalid(
                "the query states tell nothing of the words: give texts that differ, or begin with another projection \
                 (`bridge.projection = \"embedding-scale\"`)"
                    .to_owned(),
            ));
        }
        let deviation = deviation as f32;
        let random = Linear::normal(initializer, width, hidden_size, RANDOM * deviation / own);
        let weight = weight * (deviation / made) + random.weight.val();
        self.projection = random.with_weight(weight);
        let shift = (mean - self.projection.forward(common).reshape([1, hidden_size])).reshape([hidden_size]);
        self.projection.bias = Some(Param::from_tensor(shift.detach()));
        Ok(self)
    }
}

/// What all of `states` `[images, queries, width]` have in common, `[1, 1, width]`, and the rest of each.
fn apart(states: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let common = states.clone().mean_dim(0).mean_dim(1);
    (common.clone(), states - common)
}

/// The root of the mean square length of `rest` `[images, queries, width]`: a normal weight of deviation 1 makes numbers of this
/// deviation of it.
fn length(rest: Tensor<3>) -> Result<f32, ModelError> {
    let length = rest.square().sum_dim(2).mean().into_scalar::<f32>().sqrt();
    match length > 0.0 && length.is_finite() {
        true => Ok(length),
        false => Err(ModelError::Invalid(format!(
            "the query states differ by {length} on average: the scale of the projection takes images, or queries, that differ"
        ))),
    }
}

/// `x` with `matrix x = right` for each column of `right` `[n, columns]`, where `matrix` `[n, n]` is symmetric and positive
/// definite: conjugate gradients (Hestenes and Stiefel, 1952), all columns at once.
fn solution(matrix: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    let mut found = right.zeros_like();
    let (mut left, mut direction) = (right.clone(), right);
    let mut square = left.clone().square().sum_dim(0);
    for _ in 0..STEPS {
        let image = matrix.clone().matmul(direction.clone());
        let curvature = (direction.clone() * image.clone()).sum_dim(0);
        // A column that is solved has neither: it stays as it is.
        let step = square.clone() / curvature.clamp_min(f32::MIN_POSITIVE);
        found = found + direction.clone() * step.clone();
        left = left - image * step;
        let next = left.clone().square().sum_dim(0);
        direction = left.clone() + direction * (next.clone() / square.clamp_min(f32::MIN_POSITIVE));
        square = next;
    }
    found
}
