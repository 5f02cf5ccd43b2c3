//! The decoder: every token sees those before it and all of the encoder's output.

use blip2_core::layers::Linear;
use blip2_core::{Blocks, Initializer};
use blip2_kernels::{self as kernels, KeyValueCache, Tensors};
use burn::module::Module;
use burn::tensor::Tensor;

use super::T5Config;
use super::layer::{Attention, GatedFeedForward};
use super::position::PositionBias;
use crate::cache::{Origins, Remembered};
use crate::linears::{below, in_layers};
use crate::rms_norm::RmsNorm;

#[derive(Module, Debug)]
pub(super) struct Decoder {
    position_bias: PositionBias,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
}

#[derive(Module, Debug)]
struct DecoderLayer {
    attention: Attention,
    cross_attention: Attention,
    feed_forward: GatedFeedForward,
}

/// What one layer keeps of the texts so far, and of the encoder's output, which is projected once.
#[derive(Default)]
pub(super) struct DecoderCache {
    pub(super) own: KeyValueCache,
    pub(super) encoded: KeyValueCache,
}

/// What one layer makes of a beginning: its keys and values, and those of the encoder's output.
pub(super) struct DecoderBeginning {
    pub(super) own: Remembered,
    pub(super) encoded: Remembered,
}

impl Decoder {
    /// Its linear layers by our paths, the stack standing at `path`.
    pub(super) fn linears(&mut self, path: &str) -> Vec<(String, &mut Linear)> {
        in_layers(&format!("{path}.layers"), &mut self.layers, |layer| {
            let mut named = Vec::new();
            named.extend(below("attention", layer.attention.linears()));
            named.extend(below("cross_attention", layer.cross_attention.linears()));
            named.extend(below("feed_forward", layer.feed_forward.linears()));
            named
        })
    }

    pub(super) fn new(config: &T5Config, initializer: &mut Initializer) -> Self {
        Self {
            position_bias: PositionBias::new(config, false, initializer),
            layers: (0..config.decoder_layers)
                .map(|_| DecoderLayer {
                    attention: Attention::new(config, initializer),
                    cross_attention: Attention::new(config, initializer),
                    feed_forward: GatedFeedForward::new(config, initializer),
                })
                .collect(),
            norm: RmsNorm::new(initializer, config.hidden_size, config.norm_epsilon),
        }
    }

    /// Whole texts: `[batch, tokens, width]` from their embeddings of that shape and the encoder's output `encoded`
    /// `[batch, places, width]`, whose `padding` `[batch, 1, 1, places]` is `-inf`. `keep` gets what a cache starts from, layer by layer.
    pub(super) fn forward(
        &self,
        embeddings: Tensor<3>,
        encoded: &Tensor<3>,
        padding: Option<&Tensor<4>>,
        mut keep: impl FnMut(DecoderBeginning),
    ) -> Tensor<3> {
        let tokens = embeddings.dims()[1];
        let bias = self.position_bias.forward(tokens);
        let hidden = self.layers.iter().fold(embeddings, |hidden, layer| {
            if Blocks::Language.are_recomputed() {
                return layer.recomputed(hidden, encoded.clone(), bias.clone(), padding.cloned());
            }
            let (hidden, cache) = layer.forward(hidden, encoded.clone(), bias.clone(), padding.cloned());
            keep(cache);
            hidden
        });
        self.norm.forward(hidden)
    }

    /// One more token a row, `embeddings` `[rows, 1, width]`, the newest of the text `own`, behind what was `encoded`.
    pub(super) fn step(
        &self,
        embeddings: Tensor<3>,
        caches: &mut [DecoderCache],
        own: &Origins,
        encoded: &Origins,
    ) -> Tensor<3> {
        let bias = self.position_bias.of_last(own.lengths());
        let (own, encoded) = (own.reads(), encoded.reads());
        let layers = self.layers.iter().zip(caches);
        let hidden = layers.fold(embeddings, |hidden, (layer, cache)| {
            let normal = layer.attention.normal(&hidden);
            let Remembered { key, value } = layer.attention.remember(normal.clone());
            cache.own.add(key, value);
            let hidden = layer
                .attention
                .attend_to(&cache.own, hidden, normal, &own, Some(bias.clone()));
            let normal = layer.cross_attention.normal(&hidden);
            let hidden = layer
                .cross_attention
                .attend_to(&cache.encoded, hidden, normal, &encoded, None);
            layer.feed_forward.forward(hidden)
        });
        self.norm.forward(hidden)
    }
}

impl DecoderLayer {
    /// Whole texts, as [`Decoder::forward`], with what a cache begins with.
    fn forward(
        &self,
        hidden: Tensor<3>,
        encoded: Tensor<3>,
        bias: Tensor<4>,
        padding: Option<Tensor<4>>,
    ) -> (Tensor<3>, DecoderBeginning) {
        let normal = self.attention.normal(&hidden);
        let own = self.attention.remember(normal.clone());
        let encoded = self.cross_attention.remember(encoded);
        let seen = (own.key.clone(), own.value.clone());
        let hidden = self.attention.attend(hidden, normal, seen, Some(bias), true);
        let normal = self.cross_attention.normal(&hidden);
        let seen = (encoded.key.clone(), encoded.value.clone());
        let hidden = self.cross_attention.attend(hidden, normal, seen, padding, false);
        (
            self.feed_forward.forward(hidden),
            DecoderBeginning { own, encoded },
        )
    }

    /// The same without a cache; the backward pass computes it again.
    fn recomputed(
        &self,
        hidden: Tensor<3>,
        encoded: Tensor<3>,
        bias: Tensor<4>,
        padding: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let arguments = Tensors::default().with(hidden).with(encoded);
        let forward = move |layer: &Self, mut given: Tensors| {
            let (hidden, encoded) = (given.take(), given.take());
            let (hidden, _) = layer.forward(hidden, encoded, bias.clone(), padding.clone());
            Tensors::default().with(hidden)
        };
        kernels::recompute(self, arguments, forward).take()
    }
}
