//! Where stage 1 may begin, for runs that are too short to find it: the reference starts from BERT and normal weights, and takes
//! hundreds of steps for what is set here.

use blip2_core::ModelError;
use blip2_core::layers::Linear;
use burn::module::Param;
use burn::tensor::Tensor;

use crate::{RepresentationModel, TextBatch};

/// What a word that no caption has is counted as: rare, and not impossible.
const UNSEEN: f32 = 0.01;

impl RepresentationModel {
    /// Lets the layer norm of the features begin with a shift that takes off their mean, and both projections of contrast with
    /// a bias that does the same for embeddings, as it is for `features` `[pictures, patches, encoder width]` and `texts` of
    /// some training samples. What all samples have in common makes all queries alike (half of a ViT-S's features, by
    /// their square) and all embeddings, so that contrast has next to no gradient at first; and it says nothing.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the features are another encoder's, [`ModelError`] where the texts do not fit the model.
    pub fn with_centred_start(mut self, features: Tensor<3>, texts: &TextBatch) -> Result<Self, ModelError> {
        let [pictures, _, _] = features.dims();
        self.vision_norm.bias = less(self.vision_norm.bias.val(), self.normalise(features.clone())?);
        let states = self
            .qformer
            .query_pass(&self.image_context(features)?, pictures)
            .hidden;
        centre(&mut self.vision_projection, states);
        let classes = self.qformer.text_pass(texts, Some(1))?;
        centre(&mut self.text_projection, classes);
        Ok(self)
    }

    /// Lets the language head begin with the logarithm of how often each word comes in `ids`, those of the training captions
    /// that are to be predicted. To learn that takes hundreds of small steps of all shared weights in one direction, in which
    /// queries become alike.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where an id is none of the vocabulary.
    pub fn with_word_frequencies(mut self, ids: impl IntoIterator<Item = u32>) -> Result<Self, ModelError> {
        let vocabulary = self.qformer.config().vocab_size;
        let mut counts = vec![UNSEEN; vocabulary];
        for id in ids {
            let count = counts.get_mut(id as usize).ok_or_else(|| {
                ModelError::Invalid(format!("word {id} is none of the vocabulary of {vocabulary}"))
            })?;
            *count += 1.0;
        }
        let all: f32 = counts.iter().sum();
        let logarithms: Vec<f32> = counts.iter().map(|count| (count / all).ln()).collect();
        let device = self.language_head.bias.lazy_device();
        let bias = Tensor::<1>::from_data(logarithms.as_slice(), &device);
        self.language_head.bias = Param::from_tensor(bias);
        Ok(self)
    }
}

/// `bias` `[width]` less the mean of `values` `[batch, tokens, width]`.
fn less(bias: Tensor<1>, values: Tensor<3>) -> Param<Tensor<1>> {
    let [_, _, width] = values.dims();
    let mean = values.mean_dim(1).mean_dim(0).reshape([width]);
    Param::from_tensor((bias - mean).detach())
}

/// Gives `projection` the bias with which what it makes of `states` `[batch, tokens, width]` has no mean.
fn centre(projection: &mut Linear, states: Tensor<3>) {
    let made = projection.forward(states);
    projection.bias = projection.bias.take().map(|bias| less(bias.val(), made));
}
