//! Prefill and decoding with a KV cache: what decoder-only language models have in common: reading a batch, its loss, and
//! writing on.
//!
//! Texts are padded on the right, as in training: nothing real looks at what stands behind it, so that reading needs no
//! mask, and positions count real tokens only. What is written follows at the same place in every row, with the padding
//! in between hidden.

use blip2_core::layers::Embedding;
use blip2_core::{ModelError, NextTokenModel, TextExample};
use blip2_kernels::AttentionOptions;
use burn::tensor::{Device, Tensor};

use crate::attention::{attention, attention_in_parts};
use crate::batch::{
    Words, check_continuation, embed, embed_behind, hide_far, hide_padding, hide_padding_and_far, list,
    longest, no_target,
};
use crate::cache::{LayerCache, Origins, Remembered};
use crate::head::Head;

/// What every [`CausalModel`] answers as a `LanguageModel`, for use within its implementation: a trait of another crate cannot be
/// implemented for all of them at once.
macro_rules! reads_and_writes {
    () => {
        fn fingerprint(&self) -> String {
            blip2_core::weights::fingerprint(self)
        }

        fn loss(
            &self,
            soft_prompt: Tensor<3>,
            examples: &[blip2_core::TextExample],
        ) -> Result<Tensor<1>, blip2_core::ModelError> {
            $crate::causal::loss(self, soft_prompt, examples)
        }

        fn logits(
            &self,
            soft_prompt: Tensor<3>,
            examples: &[blip2_core::TextExample],
        ) -> Result<Tensor<3>, blip2_core::ModelError> {
            $crate::causal::logits(self, soft_prompt, examples)
        }

        fn history(&self, prompt: &[u32]) -> Vec<u32> {
            prompt.to_vec()
        }

        $crate::linears::takes_updates!();

        fn start(
            &self,
            soft_prompt: Tensor<3>,
            prompts: &[Vec<u32>],
        ) -> Result<Box<dyn blip2_core::NextTokenModel + '_>, blip2_core::ModelError> {
            $crate::causal::start(self, soft_prompt, prompts)
        }
    };
}
pub(crate) use reads_and_writes;

/// One layer: projections, attention, and the rest.
pub(crate) trait CausalLayer {
    /// What a layer has to know of the positions of its tokens.
    type Positions;

    /// Queries, keys and values of `hidden` `[batch, tokens, width]`, as `[batch, heads, tokens, head width]`.
    fn project(&self, hidden: Tensor<3>, positions: &Self::Positions) -> (Tensor<4>, Tensor<4>, Tensor<4>);

    /// The rest of the layer, given what the heads attended to: `context` `[batch, heads, tokens, head width]`.
    fn finish(&self, hidden: Tensor<3>, context: Tensor<4>) -> Tensor<3>;

    /// Factor on the scores where it is not one over the square root of the width of a head.
    fn scale(&self) -> Option<f64> {
        None
    }

    /// How many tokens a token sees, itself included, where it does not see all before it: a sliding window.
    fn window(&self) -> Option<usize> {
        None
    }

    /// Whole texts `hidden` `[batch, tokens, width]`, each token seeing those before it, where `far` `[1, 1, tokens, tokens]` is
    /// not `-inf`; with the keys and values that a cache starts from.
    fn forward(
        &self,
        hidden: Tensor<3>,
        positions: &Self::Positions,
        far: Option<&Tensor<4>>,
    ) -> (Tensor<3>, LayerCache) {
        let (query, key, value) = self.project(hidden.clone(), positions);
        let options = AttentionOptions {
            scale: self.scale(),
            causal: true,
            ..Default::default()
        };
        let context = attention(query, key.clone(), value.clone(), far.cloned(), options);
        let cache = LayerCache::new(Remembered { key, value });
        (self.finish(hidden, context), cache)
    }

    /// One more token a row, `hidden` `[rows, 1, width]`, the newest of `origins`. `hidden_keys` `[rows, 1, 1, keys]` is `-inf`
    /// where a row has padding instead of a token, or one too far away.
    fn step(
        &self,
        hidden: Tensor<3>,
        positions: &Self::Positions,
        cache: &mut LayerCache,
        origins: &Origins,
        hidden_keys: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let (query, key, value) = self.project(hidden.clone(), positions);
        let parts = cache.add(Remembered { key, value }, origins);
        let context = attention_in_parts(query, parts, hidden_keys.cloned(), self.scale());
        self.finish(hidden, context)
    }
}

/// What the functions of this module need of a model.
pub(crate) trait CausalModel {
    /// How errors call it.
    const NAME: &'static str;
    type Layer: CausalLayer;

    fn embedding(&self) -> &Embedding;

    /// The embedding, and what words are multiplied with before they are read.
    fn words(&self) -> Words<'_> {
        self.embedding().into()
    }

    fn layers(&self) -> &[Self::Layer];

    /// Longest text, soft prompt included.
    fn positions(&self) -> usize;

    /// From embeddings `[batch, tokens, width]` to the residual stream. `positions` holds `rows` times the same number of
    /// tokens, row after row, where `rows` is 1 if all rows have the same.
    fn enter(
        &self,
        embeddings: Tensor<3>,
        positions: &[usize],
        rows: usize,
    ) -> (Tensor<3>, <Self::Layer as CausalLayer>::Positions);

    /// From the residual stream `[rows, hidden]` behind the last layer to what the head takes, `[rows, width]`.
    fn leave(&self, hidden: Tensor<2>) -> Tensor<2>;

    /// The output layer, of width `[rows, width]` to `[rows, vocabulary]`.
    fn head(&self) -> Head<'_>;
}

fn device(model: &impl CausalModel) -> Device {
    model.embedding().weight.lazy_device()
}

/// The sliding window of the layers that have one.
fn window(model: &impl CausalModel) -> Option<usize> {
    model.layers().iter().find_map(CausalLayer::window)
}

fn check_context<M: CausalModel>(model: &M, tokens: usize) -> Result<(), ModelError> {
    let limit = model.positions();
    if tokens > limit {
        return Err(ModelError::Context {
            model: M::NAME,
            tokens,
            limit,
        });
    }
    Ok(())
}

/// Logits `[rows, vocabulary]` of rows of the residual stream `[rows, hidden]`.
fn head(model: &impl CausalModel, hidden: Tensor<2>) -> Tensor<2> {
    model.head().logits(model.leave(hidden))
}

/// The residual stream `[batch, queries + tokens, hidden]` behind the last layer; `keep` gets each layer's cache.
fn read<M: CausalModel>(
    model: &M,
    soft_prompt: Tensor<3>,
    texts: &[&[u32]],
    mut keep: impl FnMut(LayerCache),
) -> Result<Tensor<3>, ModelError> {
    check_context(model, soft_prompt.dims()[1] + longest(texts))?;
    let embeddings = embed_behind(soft_prompt, texts, model.words())?;
    let [_, tokens, _] = embeddings.dims();
    let positions: Vec<usize> = (0..tokens).collect();
    let (hidden, positions) = model.enter(embeddings, &positions, 1);
    let window = window(model).filter(|window| tokens > *window);
    let far = window.map(|window| hide_far(tokens, window, &device(model)));
    Ok(model.layers().iter().fold(hidden, |hidden, layer| {
        let far = far.as_ref().filter(|_| layer.window().is_some());
        let (hidden, cache) = layer.forward(hidden, &positions, far);
        keep(cache);
        hidden
    }))
}

/// Prompt and target of each example as one text.
fn whole(examples: &[TextExample]) -> Vec<Vec<u32>> {
    examples
        .iter()
        .map(|example| [&example.prompt[..], &example.target].concat())
        .collect()
}

/// [`blip2_core::LanguageModel::logits`].
pub(crate) fn logits(
    model: &impl CausalModel,
    soft_prompt: Tensor<3>,
    examples: &[TextExample],
) -> Result<Tensor<3>, ModelError> {
    let texts = whole(examples);
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let hidden = read(model, soft_prompt, &texts, drop)?;
    let [batch, tokens, width] = hidden.dims();
    let logits = head(model, hidden.reshape([batch * tokens, width]));
    let [_, vocabulary] = logits.dims();
    Ok(logits.reshape([batch, tokens, vocabulary]))
}

/// [`blip2_core::LanguageModel::loss`].
pub(crate) fn loss(
    model: &impl CausalModel,
    soft_prompt: Tensor<3>,
    examples: &[TextExample],
) -> Result<Tensor<1>, ModelError> {
    let queries = soft_prompt.dims()[1];
    let texts = whole(examples);
    texts.iter().try_for_each(|text| model.embedding().check(text))?;
    // The last token is predicted, never read.
    let read_texts: Vec<&[u32]> = texts
        .iter()
        .map(|text| text.split_last().map_or(&[][..], |(_, read)| read))
        .collect();
    let width = queries + longest(&read_texts);
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (row, example) in examples.iter().enumerate() {
        for (index, target) in example.target.iter().enumerate() {
            // The token at `place` is predicted by the one before; the very first by nothing.
            let place = queries + example.prompt.len() + index;
            if place > 0 {
                rows.push((row * width + place - 1) as i64);
                targets.push(i64::from(*target));
            }
        }
    }
    if targets.is_empty() {
        return Err(no_target());
    }
    let hidden = read(model, soft_prompt, &read_texts, drop)?;
    let [batch, tokens, hidden_size] = hidden.dims();
    let device = device(model);
    let labelled = hidden
        .reshape([batch * tokens, hidden_size])
        .select(0, list(rows, &device));
    Ok(model
        .head()
        .cross_entropy(model.leave(labelled), list(targets, &device)))
}

/// [`blip2_core::LanguageModel::start`].
pub(crate) fn start<'a, M: CausalModel>(
    model: &'a M,
    soft_prompt: Tensor<3>,
    prompts: &[Vec<u32>],
) -> Result<Box<dyn NextTokenModel + 'a>, ModelError> {
    let queries = soft_prompt.dims()[1];
    let starts: Vec<usize> = prompts.iter().map(|prompt| queries + prompt.len()).collect();
    if starts.contains(&0) {
        return Err(ModelError::Invalid(
            "an empty prompt without a soft prompt leaves nothing to continue: give a first token".into(),
        ));
    }
    let texts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut layers = Vec::with_capacity(model.layers().len());
    let hidden = read(model, soft_prompt, &texts, |cache| layers.push(cache))?;
    let [batch, tokens, width] = hidden.dims();
    let last: Vec<i64> = starts
        .iter()
        .enumerate()
        .map(|(row, start)| (row * tokens + start - 1) as i64)
        .collect();
    let last = hidden
        .reshape([batch * tokens, width])
        .select(0, list(last, &device(model)));
    Ok(Box::new(CausalText {
        model,
        layers,
        origins: Origins::new(batch),
        padded: tokens,
        starts,
        logits: head(model, last),
    }))
}

/// A batch of texts in the middle of being written.
struct CausalText<'a, M> {
    model: &'a M,
    layers: Vec<LayerCache>,
    origins: Origins,
    /// Real tokens of each row's beginning, soft prompt included.
    starts: Vec<usize>,
    /// Places that the beginnings take: the longest of them at the start.
    padded: usize,
    logits: Tensor<2>,
}

impl<M: CausalModel> NextTokenModel for CausalText<'_, M> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let model = self.model;
        check_continuation(self.origins.rows(), parents, tokens, model.embedding())?;
        let written = self.origins.written();
        let keys = self.padded + written + 1;
        check_context(model, keys)?;
        self.origins.follow(parents);
        let origins = &self.origins;
        let starts = origins.beginnings().iter().map(|row| self.starts[*row]);
        let starts: Vec<usize> = starts.collect();
        let positions: Vec<usize> = starts.iter().map(|start| start + written).collect();
        let embeddings = embed(model.words(), tokens, tokens.len());
        let (mut hidden, positions) = model.enter(embeddings, &positions, tokens.len());
        let device = device(model);
        let hidden_keys = hide_padding(&starts, self.padded, keys, &device);
        let far =
            window(model).map(|window| hide_padding_and_far(&starts, self.padded, written, window, &device));
        for (layer, cache) in model.layers().iter().zip(&mut self.layers) {
            let hidden_keys = match layer.window() {
                Some(_) => far.as_ref(),
                None => hidden_keys.as_ref(),
            };
            hidden = layer.step(hidden, &positions, cache, origins, hidden_keys);
        }
        let [rows, _, width] = hidden.dims();
        self.logits = head(model, hidden.reshape([rows, width]));
        Ok(())
    }
}
