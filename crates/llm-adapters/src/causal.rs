//! Prefill and decoding with a KV cache: what decoder-only language models have in common: reading a batch, its loss, and
//! writing on.
//!
//! Texts are padded on the right, as in training: nothing real looks at what stands behind it, so that reading needs no
//! mask, and positions count real tokens only. What is written reads the real tokens of its row alone.

use blip2_core::layers::Embedding;
use blip2_core::{
    Blocks, KeptBeginnings, ModelError, NextTokenModel, OpenTexts, Segment, TextExample, with_recomputed,
};
use blip2_kernels::{AttentionOptions, CacheReads, KeyValueCache};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::attention::{attention, attention_to};
use crate::batch::{
    Words, check_context, check_continuation, embed, embed_behind, embed_prompt, hide_far, list, longest,
    no_target, places,
};
use crate::beginnings::{Beginnings, Piece};
use crate::cache::{Origins, Remembered};
use crate::head::Head;

/// What every [`CausalModel`] answers as a `LanguageModel`, for use within its implementation: a trait of another crate cannot be
/// implemented for all of them at once.
macro_rules! reads_and_writes {
    () => {
        fn fingerprint(&self) -> String {
            blip2_core::weights::fingerprint(self)
        }

        fn word_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>, blip2_core::ModelError> {
            $crate::batch::embed_words($crate::causal::CausalModel::words(self), ids)
        }

        fn loss(
            &self,
            soft_prompt: Tensor<3>,
            examples: &[blip2_core::TextExample],
        ) -> Result<Tensor<1>, blip2_core::ModelError> {
            $crate::causal::loss(self, soft_prompt, examples)
        }

        fn interleaved_loss(
            &self,
            soft_prompt: Tensor<3>,
            examples: &[blip2_core::TextExample],
            pairs: usize,
        ) -> Result<Tensor<1>, blip2_core::ModelError> {
            match pairs {
                1 => self.loss(soft_prompt, examples),
                _ => $crate::interleaved::loss(self, soft_prompt, examples, pairs),
            }
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

        fn open(&self, remembered: usize) -> Box<dyn blip2_core::OpenTexts + '_> {
            Box::new($crate::causal::CausalText::new(self, remembered))
        }
    };
}
pub(crate) use reads_and_writes;

/// One layer: projections, attention, and the rest.
pub(crate) trait CausalLayer: Module + 'static {
    /// What a layer has to know of the positions of its tokens.
    type Positions: Clone + Send + 'static;

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

    /// Whole texts `hidden` `[batch, tokens, width]`, each token seeing those before it, where `far`
    /// `[1, 1, tokens, past + tokens]` is not `-inf`; with the keys and values that a cache starts from. Before them stands `past`,
    /// where it is not empty: this layer's keys and values of some tokens each, for a batch of one.
    fn forward(
        &self,
        hidden: Tensor<3>,
        positions: &Self::Positions,
        past: Vec<Remembered>,
        far: Option<&Tensor<4>>,
    ) -> (Tensor<3>, Remembered) {
        let (query, key, value) = self.project(hidden.clone(), positions);
        let own = Remembered { key, value };
        let seen = match past.is_empty() {
            true => own.clone(),
            false => Remembered::joined(past.into_iter().chain([own.clone()])),
        };
        let options = AttentionOptions {
            scale: self.scale(),
            causal: true,
            ..Default::default()
        };
        let context = attention(query, seen.key, seen.value, far.cloned(), options);
        (self.finish(hidden, context), own)
    }

    /// One more token a row, `hidden` `[rows, 1, width]`, which `cache` gets, and which sees what it `reads` there.
    fn step(
        &self,
        hidden: Tensor<3>,
        positions: &Self::Positions,
        cache: &mut KeyValueCache,
        reads: &CacheReads,
    ) -> Tensor<3> {
        let (query, key, value) = self.project(hidden.clone(), positions);
        cache.add(key, value);
        let context = attention_to(cache, query, reads, None, self.scale());
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

/// Logits `[rows, vocabulary]` of rows of the residual stream `[rows, hidden]`.
fn head(model: &impl CausalModel, hidden: Tensor<2>) -> Tensor<2> {
    model.head().logits(model.leave(hidden))
}

/// The residual stream `[batch, queries + tokens, hidden]` behind the last layer; `keep` gets each layer's keys and values, but where
/// layers are computed again.
fn read<M: CausalModel>(
    model: &M,
    soft_prompt: Tensor<3>,
    texts: &[&[u32]],
    keep: impl FnMut(Remembered),
) -> Result<Tensor<3>, ModelError> {
    check_context(M::NAME, soft_prompt.dims()[1] + longest(texts), model.positions())?;
    let embeddings = embed_behind(soft_prompt, texts, model.words())?;
    Ok(read_behind(model, &[], embeddings, keep))
}

/// The same of `embeddings` `[batch, tokens, width]` behind `past`, where there is one.
pub(crate) fn read_behind<M: CausalModel>(
    model: &M,
    past: &[Piece],
    embeddings: Tensor<3>,
    mut keep: impl FnMut(Remembered),
) -> Tensor<3> {
    let [_, tokens, _] = embeddings.dims();
    let before: usize = past.iter().map(|piece| piece.tokens).sum();
    let positions: Vec<usize> = (before..before + tokens).collect();
    let (hidden, positions) = model.enter(embeddings, &positions, 1);
    let window = window(model).filter(|window| before + tokens > *window);
    let far = window.map(|window| hide_far(before, tokens, window, &device(model)));
    let layers = model.layers().iter().enumerate();
    layers.fold(hidden, |hidden, (index, layer)| {
        let far = far.as_ref().filter(|_| layer.window().is_some());
        if past.is_empty() && Blocks::Language.are_recomputed() {
            return recomputed(layer, hidden, &positions, far);
        }
        let past = past.iter().map(|piece| piece.layers[index].first(piece.tokens));
        let (hidden, own) = layer.forward(hidden, &positions, past.collect(), far);
        keep(own);
        hidden
    })
}

/// As [`CausalLayer::forward`], without a cache; the backward pass computes it again.
fn recomputed<L: CausalLayer>(
    layer: &L,
    hidden: Tensor<3>,
    positions: &L::Positions,
    far: Option<&Tensor<4>>,
) -> Tensor<3> {
    let (positions, far) = (positions.clone(), far.cloned());
    let forward = move |layer: &L, hidden| layer.forward(hidden, &positions, Vec::new(), far.as_ref()).0;
    Blocks::Language.run(layer, hidden, forward)
}

/// Prompt and target of each example as one text.
pub(crate) fn whole(examples: &[TextExample]) -> Vec<Vec<u32>> {
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
    Ok(predicted(model, hidden, rows, targets))
}

/// Mean cross-entropy `[1]` of `targets` at `rows` of all places of `hidden` `[batch, tokens, width]`.
pub(crate) fn predicted(
    model: &impl CausalModel,
    hidden: Tensor<3>,
    rows: Vec<i64>,
    targets: Vec<i64>,
) -> Tensor<1> {
    let [batch, tokens, width] = hidden.dims();
    let device = device(model);
    let labelled = hidden
        .reshape([batch * tokens, width])
        .select(0, list(rows, &device));
    model
        .head()
        .cross_entropy(model.leave(labelled), list(targets, &device))
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
    let hidden = with_recomputed(&[], || {
        read(model, soft_prompt, &texts, |layer| layers.push(layer))
    })?;
    let [batch, tokens, width] = hidden.dims();
    let last: Vec<i64> = starts
        .iter()
        .enumerate()
        .map(|(row, start)| (row * tokens + start - 1) as i64)
        .collect();
    let last = hidden
        .reshape([batch * tokens, width])
        .select(0, list(last, &device(model)));
    let mut text = CausalText::new(model, 0);
    text.join(vec![layers], &[starts], head(model, last));
    Ok(Box::new(text))
}

/// A batch of texts in the middle of being written.
pub(crate) struct CausalText<'a, M> {
    model: &'a M,
    layers: Vec<KeyValueCache>,
    origins: Origins,
    beginnings: Beginnings,
    /// Places of the last prompt that were known.
    reused: usize,
    logits: Tensor<2>,
}

/// Beginnings on their way from texts to others of the same model, which is known by where it lies.
struct Released {
    model: usize,
    beginnings: Beginnings,
}

impl<'a, M: CausalModel> CausalText<'a, M> {
    /// No text yet; of those that join, beginnings of up to `remembered` bytes are kept.
    pub(crate) fn new(model: &'a M, remembered: usize) -> Self {
        Self {
            layers: model.layers().iter().map(|_| KeyValueCache::default()).collect(),
            origins: Origins::default(),
            beginnings: Beginnings::new(remembered),
            reused: 0,
            logits: no_rows(model),
            model,
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self.model).addr()
    }

    /// Adds rows whose beginnings lie in new `parts`, for each layer of each; `tokens` says how many each row reads of each part.
    fn join(&mut self, parts: Vec<Vec<Remembered>>, tokens: &[Vec<usize>], logits: Tensor<2>) {
        self.logits = match self.origins.rows() {
            0 => logits,
            _ => Tensor::cat(vec![self.logits.clone(), logits], 0),
        };
        self.origins.join(tokens);
        for part in parts {
            let layers = self.layers.iter_mut().zip(part);
            layers.for_each(|(cache, layer)| cache.add(layer.key, layer.value));
        }
    }
}

impl<M: CausalModel> NextTokenModel for CausalText<'_, M> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let model = self.model;
        check_continuation(self.origins.rows(), parents, tokens, model.embedding())?;
        let lengths = || parents.iter().map(|parent| self.origins.lengths()[*parent]);
        let positions: Vec<usize> = lengths().collect();
        let longest = lengths().max().map_or(0, |length| length + 1);
        check_context(M::NAME, longest, model.positions())?;
        let kept = self.origins.follow(parents);
        self.layers.iter_mut().for_each(|cache| cache.keep(&kept));
        if parents.is_empty() {
            self.logits = no_rows(model);
            return Ok(());
        }
        self.origins.write();
        let embeddings = embed(model.words(), tokens, tokens.len());
        let (mut hidden, positions) = model.enter(embeddings, &positions, tokens.len());
        let all = self.origins.reads();
        let near = window(model).map(|window| self.origins.reads_within(window));
        for (layer, cache) in model.layers().iter().zip(&mut self.layers) {
            let near = near.as_ref().filter(|_| layer.window().is_some());
            hidden = layer.step(hidden, &positions, cache, near.unwrap_or(&all));
        }
        let [rows, _, width] = hidden.dims();
        self.logits = head(model, hidden.reshape([rows, width]));
        Ok(())
    }
}

impl<M: CausalModel> OpenTexts for CausalText<'_, M> {
    fn admit(&mut self, prompt: &[Segment]) -> Result<(), ModelError> {
        let model = self.model;
        check_context(M::NAME, places(prompt), model.positions())?;
        let embeddings = embed_prompt(prompt, model.words())?;
        let places = self.beginnings.places(prompt);
        let mut pieces = self.beginnings.find(&places);
        let known: usize = pieces.iter().map(|piece| piece.tokens).sum();
        let [_, tokens, _] = embeddings.dims();
        let new = tokens - known;
        let mut layers = Vec::with_capacity(self.layers.len());
        let hidden = read_behind(model, &pieces, embeddings.narrow(1, known, new), |layer| {
            layers.push(layer)
        });
        let logits = head(model, hidden.narrow(1, new - 1, 1).squeeze_dim(1));
        pieces.push(Piece { tokens: new, layers });
        self.reused = known;
        self.beginnings.keep(places, &pieces);
        let tokens: Vec<Vec<usize>> = pieces.iter().map(|piece| vec![piece.tokens]).collect();
        self.join(
            pieces.into_iter().map(|piece| piece.layers).collect(),
            &tokens,
            logits,
        );
        Ok(())
    }

    fn room(&self, prompt: &[Segment]) -> Option<usize> {
        // The last token is written, never read.
        Some((self.model.positions() + 1).saturating_sub(places(prompt)))
    }

    fn reused(&self) -> usize {
        self.reused
    }

    fn release(&mut self) -> KeptBeginnings {
        let room = self.beginnings.room();
        KeptBeginnings::new(Released {
            model: self.address(),
            beginnings: std::mem::replace(&mut self.beginnings, Beginnings::new(room)),
        })
    }

    fn recall(&mut self, kept: KeptBeginnings) {
        let kept = kept.take::<Released>();
        if let Some(Released { beginnings, .. }) = kept.filter(|kept| kept.model == self.address()) {
            self.beginnings = beginnings.within(self.beginnings.room());
        }
    }
}

/// Logits `[0, vocabulary]`.
fn no_rows(model: &impl CausalModel) -> Tensor<2> {
    Tensor::zeros([0, model.embedding().entries()], &device(model))
}
