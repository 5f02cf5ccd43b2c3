//! Where the queries look, and what that is worth to a match (`compute_gradcam` of LAVIS, there for BLIP's text encoder).

use blip2_core::ModelError;
use burn::tensor::Tensor;

use crate::watch::{Watch, Watches};
use crate::{ImageContext, QFormer, RepresentationModel, TextBatch};

/// Where the queries looked in one layer.
#[derive(Clone, Debug)]
pub struct LayerLooks {
    /// Which layer, from 0.
    pub layer: usize,
    /// How much each query took of each image token, by head: `[batch, heads, queries, patches]`, 1 in sum over the patches.
    pub image: Tensor<4>,
}

impl LayerLooks {
    /// The mean over heads, `[batch, queries, patches]`.
    pub fn mean(&self) -> Tensor<3> {
        let [batch, _, queries, patches] = self.image.dims();
        self.image.clone().mean_dim(1).reshape([batch, queries, patches])
    }
}

/// What the attentions of one layer are worth to the match of images and texts: each attention times the gradient of the match's
/// logit in it, as far as that is positive, mean over heads.
#[derive(Clone, Debug)]
pub struct MatchLooks {
    /// Logits of the matching head (no match, match): `[batch, 2]`.
    pub logits: Tensor<2>,
    /// Of each query to each image token: `[batch, queries, patches]`.
    pub image: Tensor<3>,
    /// Of each query to each token of its text: `[batch, queries, tokens]`.
    pub text: Tensor<3>,
}

impl MatchLooks {
    /// A map of the image for each token of the texts, `[batch, tokens, patches]`. Words do not read the image: queries take words
    /// in and then look. So the map of a word is the sum of the queries' maps, each as much as the query took of the word
    /// (the product of two attentions that Chefer et al., 2021, equation 10, follow information through).
    pub fn tokens(&self) -> Tensor<3> {
        self.text.clone().swap_dims(1, 2).matmul(self.image.clone())
    }
}

impl QFormer {
    /// The layers that read the image.
    fn readers(&self) -> Vec<usize> {
        let layers = 0..self.layers.len();
        layers.filter(|layer| self.config().reads_image(*layer)).collect()
    }

    /// Where the queries look in each layer that reads the image, beside a text each or, without `text`, alone with each image of
    /// `context`.
    ///
    /// # Errors
    /// [`ModelError`] where the text does not fit the model.
    pub fn looks(
        &self,
        context: &ImageContext,
        text: Option<&TextBatch>,
    ) -> Result<Vec<LayerLooks>, ModelError> {
        let watch = |layer| (layer, Watch::default());
        let mut watches: Watches = self.readers().into_iter().map(watch).collect();
        match text {
            Some(text) => drop(self.multimodal(context, text, Some(&mut watches))?),
            None => drop(self.queries_alone(context, context.images(), Some(&mut watches))),
        }
        let looks = watches.into_iter().map(|(layer, watch)| {
            let seen = watch.probabilities();
            let [_, image] = seen.expect("a layer that reads the image attends to itself and to the image");
            LayerLooks { layer, image }
        });
        Ok(looks.collect())
    }
}

impl RepresentationModel {
    /// The layer whose looks tell most of a match, as LAVIS has it: the first in the second half that reads the image, which is
    /// layer 6 of the paper's 12; else the last that does.
    pub fn telling_layer(&self) -> usize {
        let readers = self.qformer.readers();
        let half = self.qformer.layers.len() / 2;
        let telling = readers.iter().find(|layer| **layer >= half);
        *telling
            .or(readers.last())
            .expect("layer 0 reads the image: 0 is a multiple of every frequency")
    }

    /// What the attentions of `layer` are worth to the match of the images of `context` with the texts, one each. The model itself
    /// gets no gradient, and drops nothing.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where `layer` does not read the image; [`ModelError`] where the text does not fit the model.
    pub fn match_looks(
        &self,
        context: &ImageContext,
        text: &TextBatch,
        layer: usize,
    ) -> Result<MatchLooks, ModelError> {
        let readers = self.qformer.readers();
        if !readers.contains(&layer) {
            return Err(ModelError::Invalid(format!(
                "layer {layer} of the Q-Former does not read the image; those that do are {readers:?}"
            )));
        }
        let qformer = self.qformer.clone().without_dropout();
        let mut watches = Watches::from([(layer, Watch::tracked())]);
        let states = qformer.multimodal(context, text, Some(&mut watches))?;
        let logits = self.match_logits(states);
        let gradients = logits.clone().narrow(1, 1, 1).sum().backward();
        let weighted = watches
            .remove(&layer)
            .and_then(|watch| watch.weighted(&gradients));
        let [rows, image] =
            weighted.expect("the match depends on all attentions of a layer that reads the image");
        let queries = qformer.config().num_query_tokens;
        let text_rows = rows.narrow(1, 0, queries).narrow(2, queries, text.tokens());
        Ok(MatchLooks {
            logits: logits.inner(),
            image,
            text: text_rows,
        })
    }
}
