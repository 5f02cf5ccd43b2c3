//! From pixels to tokens: patches, class token, positions.

use blip2_core::Initializer;
use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use super::VisionTransformerConfig;
use super::position::resize_positions;

/// A convolution whose stride is its size: the same linear map of every patch.
#[derive(Module, Debug)]
pub(super) struct PatchEmbedding {
    /// `[width, channels, patch, patch]`.
    weight: Param<Tensor<4>>,
    /// `[width]`, where the family has one.
    bias: Option<Param<Tensor<1>>>,
}

impl PatchEmbedding {
    fn new(initializer: &mut Initializer, config: &VisionTransformerConfig) -> Self {
        let shape = [
            config.hidden_size,
            config.num_channels,
            config.patch_size,
            config.patch_size,
        ];
        Self {
            weight: initializer.normal(shape, config.initializer_range),
            bias: config
                .patch_bias
                .then(|| initializer.constant([config.hidden_size], 0.0)),
        }
    }

    /// `pixels` `[batch, channels, rows * patch, columns * patch]` to `[batch, rows * columns, width]`, row by row.
    fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        let weight = self.weight.val();
        let [width, channels, patch, _] = weight.dims();
        let [batch, _, height, breadth] = pixels.dims();
        let (rows, columns) = (height / patch, breadth / patch);
        let values = channels * patch * patch;
        let patches = pixels
            .cast(weight.dtype())
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, values]);
        kernels::linear(
            patches,
            weight.reshape([width, values]),
            self.bias.as_ref().map(Param::val),
        )
    }
}

/// Patches, in most families with a class token in front, and a learned position added to each.
#[derive(Module, Debug)]
pub(super) struct Embeddings {
    patches: PatchEmbedding,
    /// `[1, 1, width]`.
    class: Option<Param<Tensor<3>>>,
    /// `[1, 1 + grid * grid, width]`, the class token's first; without one `[1, grid * grid, width]`.
    positions: Param<Tensor<3>>,
    /// Rows and columns.
    #[module(skip)]
    grid: [usize; 2],
    #[module(skip)]
    align_corners: bool,
}

impl Embeddings {
    pub(super) fn new(initializer: &mut Initializer, config: &VisionTransformerConfig) -> Self {
        let (width, grid, deviation) = (config.hidden_size, config.grid(), config.initializer_range);
        Self {
            patches: PatchEmbedding::new(initializer, config),
            class: config
                .class_token
                .then(|| initializer.normal([1, 1, width], deviation)),
            positions: initializer.normal([1, config.tokens_before() + grid * grid, width], deviation),
            grid: [grid, grid],
            align_corners: config.align_corners,
        }
    }

    /// `pixels` `[batch, channels, rows * patch, columns * patch]` to `[batch, tokens, width]`, as many tokens as patches, one
    /// more with the class token.
    pub(super) fn forward(&self, pixels: Tensor<4>, rows: usize, columns: usize) -> Tensor<3> {
        let patches = self.patches.forward(pixels);
        let [batch, _, width] = patches.dims();
        let positions = self.positions.val();
        let patches = patches + self.places(rows, columns);
        match &self.class {
            Some(class) => {
                let class = class.val() + positions.narrow(1, 0, 1);
                Tensor::cat(vec![class.expand([batch, 1, width]), patches], 1)
            }
            None => patches,
        }
    }

    /// The same with positions learned for a grid of `rows` x `columns`.
    pub(super) fn with_grid(mut self, rows: usize, columns: usize) -> Self {
        if self.grid != [rows, columns] {
            let places = self.places(rows, columns);
            let positions = match self.before() {
                0 => places,
                before => Tensor::cat(vec![self.positions.val().narrow(1, 0, before), places], 1),
            };
            self.positions = Param::from_tensor(positions.detach());
            self.grid = [rows, columns];
        }
        self
    }

    pub(super) fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// Tokens before the patches.
    fn before(&self) -> usize {
        usize::from(self.class.is_some())
    }

    /// Positions `[1, rows * columns, width]` of patches.
    fn places(&self, rows: usize, columns: usize) -> Tensor<3> {
        let positions = self.positions.val();
        let [_, _, width] = positions.dims();
        let [own_rows, own_columns] = self.grid;
        let learned = positions
            .clone()
            .narrow(1, self.before(), own_rows * own_columns)
            .reshape([own_rows, own_columns, width])
            .cast(DType::F32);
        resize_positions(learned, rows, columns, self.align_corners)
            .reshape([1, rows * columns, width])
            .cast(positions.dtype())
    }
}
