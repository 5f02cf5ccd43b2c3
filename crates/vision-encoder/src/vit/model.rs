//! The encoder as a whole.

use blip2_core::layers::LayerNorm;
use blip2_core::{Blocks, Initializer, ModelError, VisionEncoder};
use burn::module::Module;
use burn::tensor::{DType, Tensor};

use super::VisionTransformerConfig;
use super::block::Block;
use super::embedding::Embeddings;

/// A vision transformer. It computes in the number format of its weights and gives f32. Its features are all tokens: the class token first, where there is one, then the patches row by
/// row.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    embeddings: Embeddings,
    pre_norm: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    features: Features,
    #[module(skip)]
    input: Input,
}

/// Where the features are taken.
#[derive(Clone, Copy, Debug)]
struct Features {
    after: usize,
    normalised: bool,
}

/// What the pixels must be.
#[derive(Clone, Copy, Debug)]
struct Input {
    channels: usize,
    patch: usize,
    width: usize,
    tokens_before: usize,
}

impl VisionTransformer {
    /// A randomly initialised encoder whose features are taken at the end: after all blocks, normalised if there
    /// is a last normalisation.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the configuration contradicts itself.
    pub fn new(config: &VisionTransformerConfig, initializer: &mut Initializer) -> Result<Self, ModelError> {
        config.check()?;
        let norm = |initializer: &mut Initializer, present: bool| {
            present.then(|| LayerNorm::new(initializer, config.hidden_size, config.layer_norm_eps))
        };
        Ok(Self {
            embeddings: Embeddings::new(initializer, config),
            pre_norm: norm(initializer, config.pre_norm),
            blocks: (0..config.num_hidden_layers)
                .map(|_| Block::new(initializer, &config.block()))
                .collect(),
            norm: norm(initializer, config.post_norm),
            features: Features {
                after: config.num_hidden_layers,
                normalised: config.post_norm,
            },
            input: Input {
                channels: config.num_channels,
                patch: config.patch_size,
                width: config.hidden_size,
                tokens_before: config.tokens_before(),
            },
        })
    }

    /// Takes the features that `block` puts out, counted from 1, or from the end: -1 is the last block, and 0 the embeddings.
    /// Blocks behind are not computed. Where `final_norm`, they pass through the last layer normalisation. The paper takes the
    /// second-last block of CLIP, -2, as it is (section 3.1).
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where there are fewer blocks, or no last normalisation.
    pub fn with_features(mut self, block: i32, final_norm: bool) -> Result<Self, ModelError> {
        let blocks = self.blocks.len();
        let counted = match block {
            0.. => usize::try_from(block).ok(),
            _ => (blocks + 1).checked_sub(block.unsigned_abs() as usize),
        };
        let after = counted.filter(|after| *after <= blocks && (*after > 0 || block == 0));
        let after = after.ok_or_else(|| {
            ModelError::Invalid(format!(
                "features of block {block} are asked of an encoder of {blocks} blocks: choose 0 to {blocks}, or -1 to -{blocks}"
            ))
        })?;
        if final_norm && self.norm.is_none() {
            return Err(ModelError::Invalid(
                "this encoder has no last normalisation: take its features without".to_owned(),
            ));
        }
        self.features = Features {
            after,
            normalised: final_norm,
        };
        Ok(self)
    }

    /// The same encoder without its last normalisation, with features of the last block: BLIP-2's files keep there the norm
    /// that the bridge trains (`ln_vision` of LAVIS), and that the bridge therefore has.
    pub fn without_norm(mut self) -> Self {
        self.norm = None;
        self.features.normalised = false;
        self
    }

    /// The same encoder with stochastic depth in training: of the first block nothing is left out, of the last a share `rate`, and in
    /// between it grows evenly (LAVIS `eva_vit.py`). Where nothing is trained, on a device without autodiff, it does not act.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where `rate` is no share below 1.
    pub fn with_drop_path(mut self, rate: f64) -> Result<Self, ModelError> {
        if !(0.0..1.0).contains(&rate) {
            return Err(ModelError::Invalid(format!(
                "a drop path of {rate}: it is a share of the pictures, from 0 to below 1"
            )));
        }
        let last = self.blocks.len().saturating_sub(1).max(1) as f64;
        let blocks = self.blocks.into_iter().enumerate();
        self.blocks = blocks
            .map(|(index, block)| block.with_drop_path(rate * index as f64 / last))
            .collect();
        Ok(self)
    }

    /// The same encoder with its positions learned for pictures of `height` x `width` pixels: interpolated as they are for such
    /// pictures anyway ([`VisionEncoder::encode`]), once and for all, so that training goes on with them.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the size does not fit the patches.
    pub fn with_positions_for(mut self, height: usize, width: usize) -> Result<Self, ModelError> {
        let (rows, columns) = self.patches([1, self.input.channels, height, width])?;
        self.embeddings = self.embeddings.with_grid(rows, columns);
        Ok(self)
    }

    /// Rows and columns of patches that the positions are learned for.
    pub fn grid(&self) -> [usize; 2] {
        self.embeddings.grid()
    }

    /// Whether it normalises before its first block, as CLIP does. Files of CLIP keep the class token as a plain vector, those of
    /// others as a sequence of one token: rules that go by the dimensions of a tensor tell them apart.
    pub fn has_pre_norm(&self) -> bool {
        self.pre_norm.is_some()
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Features `[batch, tokens, width]` of `pixels` `[batch, channels, height, width]` after no block, the first, and
    /// so on to the last: one more than there are blocks, none of them normalised.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the pixels do not fit the patch grid.
    pub fn trace(&self, pixels: Tensor<4>) -> Result<Vec<Tensor<3>>, ModelError> {
        let mut features = vec![self.embed(pixels)?];
        for block in &self.blocks {
            features.push(block.forward(features[features.len() - 1].clone()));
        }
        Ok(features)
    }

    fn embed(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        let [batch, channels, height, width] = pixels.dims();
        let (rows, columns) = self.patches([batch, channels, height, width])?;
        let embedded = self.embeddings.forward(pixels, rows, columns);
        Ok(match &self.pre_norm {
            Some(norm) => norm.forward(embedded),
            None => embedded,
        })
    }

    /// Rows and columns of patches in pixels of this shape.
    fn patches(&self, shape: [usize; 4]) -> Result<(usize, usize), ModelError> {
        let Input { channels, patch, .. } = self.input;
        let fits = |extent: usize| extent > 0 && extent.is_multiple_of(patch);
        if shape[0] == 0 || shape[1] != channels || !fits(shape[2]) || !fits(shape[3]) {
            return Err(ModelError::Shape {
                tensor: "pixels",
                expected: format!("[batch, {channels}, multiple of {patch}, multiple of {patch}]"),
                actual: shape.to_vec(),
                hint: "resize the image to a whole number of patches, three colours",
            });
        }
        Ok((shape[2] / patch, shape[3] / patch))
    }
}

impl VisionEncoder for VisionTransformer {
    fn encode(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        let embedded = self.embed(pixels)?;
        let features = self.blocks[..self.features.after]
            .iter()
            .fold(embedded, |x, block| Blocks::Vision.run(block, x, Block::forward));
        let features = match &self.norm {
            Some(norm) if self.features.normalised => norm.forward(features),
            _ => features,
        };
        Ok(features.cast(DType::F32))
    }

    fn fingerprint(&self) -> String {
        blip2_core::weights::fingerprint(self)
    }

    fn width(&self) -> usize {
        self.input.width
    }

    fn tokens(&self, height: usize, width: usize) -> Result<usize, ModelError> {
        let (rows, columns) = self.patches([1, self.input.channels, height, width])?;
        Ok(self.input.tokens_before + rows * columns)
    }
}
