//! The encoder: every token sees every other.

use blip2_core::layers::Linear;
use blip2_core::{Blocks, Initializer};
use burn::module::Module;
use burn::tensor::Tensor;

use super::T5Config;
use super::layer::{Attention, GatedFeedForward};
use super::position::PositionBias;
use crate::linears::{below, in_layers};
use crate::rms_norm::RmsNorm;

#[derive(Module, Debug)]
pub(super) struct Encoder {
    position_bias: PositionBias,
    layers: Vec<EncoderLayer>,
    norm: RmsNorm,
}

#[derive(Module, Debug)]
struct EncoderLayer {
    attention: Attention,
    feed_forward: GatedFeedForward,
}

impl Encoder {
    /// Its linear layers by our paths, the stack standing at `path`.
    pub(super) fn linears(&mut self, path: &str) -> Vec<(String, &mut Linear)> {
        in_layers(&format!("{path}.layers"), &mut self.layers, |layer| {
            let mut named = Vec::new();
            named.extend(below("attention", layer.attention.linears()));
            named.extend(below("feed_forward", layer.feed_forward.linears()));
            named
        })
    }

    pub(super) fn new(config: &T5Config, initializer: &mut Initializer) -> Self {
        Self {
            position_bias: PositionBias::new(config, true, initializer),
            layers: (0..config.encoder_layers)
                .map(|_| EncoderLayer {
                    attention: Attention::new(config, initializer),
                    feed_forward: GatedFeedForward::new(config, initializer),
                })
                .collect(),
            norm: RmsNorm::new(initializer, config.hidden_size, config.norm_epsilon),
        }
    }

    /// Encodes embeddings `[batch, tokens, width]`; `padding` `[batch, 1, 1, tokens]` is `-inf` where there is no token.
    pub(super) fn forward(&self, embeddings: Tensor<3>, padding: Option<&Tensor<4>>) -> Tensor<3> {
        let tokens = embeddings.dims()[1];
        let mut bias = self.position_bias.forward(tokens);
        if let Some(padding) = padding {
            let padding = padding.clone().cast(bias.dtype());
            bias = bias + padding;
        }
        let hidden = self.layers.iter().fold(embeddings, |hidden, layer| {
            let bias = bias.clone();
            let forward = move |layer: &EncoderLayer, hidden| layer.forward(hidden, bias.clone());
            Blocks::Language.run(layer, hidden, forward)
        });
        self.norm.forward(hidden)
    }
}

impl EncoderLayer {
    fn forward(&self, hidden: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let normal = self.attention.normal(&hidden);
        let own = self.attention.remember(normal.clone());
        let seen = (own.key, own.value);
        let hidden = self.attention.attend(hidden, normal, seen, Some(bias), false);
        self.feed_forward.forward(hidden)
    }
}
