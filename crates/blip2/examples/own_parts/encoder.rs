//! An image encoder: random features of each patch.

use blip2_core::layers::{Embedding, Linear};
use blip2_core::weights::fingerprint;
use blip2_core::{Initializer, ModelError, VisionEncoder};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::tanh;

use crate::WIDTH;
use crate::pictures::SIDE;

const PATCH: usize = 4;

/// Random features of each patch: frozen, and enough to tell colours and places apart.
#[derive(Module, Debug)]
pub(crate) struct Patches {
    /// `[width, 3 * patch * patch]`.
    map: Linear,
    /// `[patches, width]`.
    places: Embedding,
}

impl Patches {
    pub(crate) fn new(initializer: &mut Initializer) -> Self {
        let values = 3 * PATCH * PATCH;
        let patches = (SIDE / PATCH) * (SIDE / PATCH);
        Self {
            map: Linear::unbiased(initializer, values, WIDTH, (values as f32).sqrt().recip()),
            places: Embedding::new(initializer, patches, WIDTH, 0.5),
        }
    }
}

impl VisionEncoder for Patches {
    fn encode(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        let [batch, channels, height, width] = pixels.dims();
        if batch == 0 || channels != 3 {
            return Err(ModelError::Shape {
                tensor: "pixels",
                expected: format!("[batch, 3, {SIDE}, {SIDE}]"),
                actual: vec![batch, channels, height, width],
                hint: "give at least one picture in colour",
            });
        }
        let tokens = self.tokens(height, width)?;
        let side = SIDE / PATCH;
        let patches = pixels
            .reshape([batch, 3, side, PATCH, side, PATCH])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, tokens, 3 * PATCH * PATCH]);
        Ok(tanh(self.map.forward(patches)) + self.places.weight.val().unsqueeze())
    }

    fn fingerprint(&self) -> String {
        fingerprint(self)
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn tokens(&self, height: usize, width: usize) -> Result<usize, ModelError> {
        if (height, width) == (SIDE, SIDE) {
            return Ok((SIDE / PATCH) * (SIDE / PATCH));
        }
        Err(ModelError::Shape {
            tensor: "pixels",
            expected: format!("[batch, 3, {SIDE}, {SIDE}]"),
            actual: vec![height, width],
            hint: "resize the picture to the one size that this encoder takes",
        })
    }
}
