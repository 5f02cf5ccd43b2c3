//! The text tower: a causal transformer whose end token stands for the text.

use blip2_core::layers::{Embedding, LayerNorm};
use blip2_core::{Initializer, ModelError};
use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};

use super::ClipTextConfig;
use crate::vit::block::Block;
use crate::vit::names::Naming;

/// Until 2023, configurations named this id as the end, whatever the vocabulary: the end token is then the largest id.
const UNTRUE_END: u32 = 2;

pub(super) const NAMES: Naming = Naming {
    beginnings: &[
        ("tokens.", "embeddings.token_embedding."),
        ("positions.", "embeddings.position_embedding."),
        ("blocks.", "encoder.layers."),
        ("norm.", "final_layer_norm."),
    ],
    pieces: crate::vit::hugging_face::CLIP.pieces,
};

#[derive(Module, Debug)]
pub(super) struct TextTower {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    end: u32,
}

impl TextTower {
    pub(super) fn new(config: &ClipTextConfig, initializer: &mut Initializer) -> Result<Self, ModelError> {
        config.check()?;
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        Ok(Self {
            tokens: Embedding::new(initializer, config.vocab_size, width, deviation),
            positions: Embedding::new(initializer, config.max_position_embeddings, width, deviation),
            blocks: (0..config.num_hidden_layers)
                .map(|_| Block::new(initializer, &config.block()))
                .collect(),
            norm: LayerNorm::new(initializer, width, config.layer_norm_eps),
            end: config.eos_token_id,
        })
    }

    /// The states `[batch, width]` of the end tokens of `texts`.
    pub(super) fn forward(&self, texts: &[Vec<u32>]) -> Result<Tensor<2>, ModelError> {
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let limit = self.positions.entries();
        if longest > limit {
            return Err(ModelError::Context {
                model: "CLIP's text tower",
                tokens: longest,
                limit,
            });
        }
        self.tokens.check(texts.iter().flatten())?;
        let ends = texts
            .iter()
            .enumerate()
            .map(|(row, text)| Ok((row * longest + self.end(row, text)?) as i64))
            .collect::<Result<Vec<_>, ModelError>>()?;
        // Padding stands on the right, so that causality hides it from all that counts.
        let padded: Vec<i64> = texts
            .iter()
            .flat_map(|text| {
                let padding = std::iter::repeat_n(0, longest - text.len());
                text.iter().map(|id| i64::from(*id)).chain(padding)
            })
            .collect();
        let device = self.tokens.weight.lazy_device();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(padded, [texts.len(), longest]), &device);
        let places = self.positions.weight.val().narrow(0, 0, longest);
        let embedded = self.tokens.forward(ids) + places.unsqueeze();
        let states = self.blocks.iter().fold(embedded, |x, block| block.forward(x));
        let [batch, tokens, width] = states.dims();
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [batch]), &device);
        let states = states.reshape([batch * tokens, width]).select(0, ends);
        Ok(self.norm.forward(states))
    }

    /// Where the text in `row` ends.
    fn end(&self, row: usize, text: &[u32]) -> Result<usize, ModelError> {
        let end = match self.end {
            UNTRUE_END => text.iter().copied().max(),
            end => Some(end),
        };
        let place = text.iter().position(|id| Some(*id) == end);
        place.ok_or_else(|| {
            ModelError::Invalid(format!(
                "text {row} has no end token ({}): tokenise it with its special tokens",
                self.end
            ))
        })
    }
}
