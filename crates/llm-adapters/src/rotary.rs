//! Rotary position embedding (RoPE; Su et al., 2021), in the half-split form of Hugging Face's Llama.

use blip2_kernels as kernels;
use burn::tensor::{Device, Tensor, TensorData};

/// Angle per position of each pair of dimensions.
#[derive(Clone, Debug)]
pub(crate) struct RotaryEmbedding {
    frequencies: Vec<f32>,
}

/// The turn that belongs to given positions, made once for all layers.
#[derive(Clone)]
pub(crate) struct Rotation {
    /// `[rows, tokens, 1, width]`, where `rows` is 1 if all rows have the same positions.
    cosine: Tensor<4>,
    sine: Tensor<4>,
    /// `[width, width]`: takes `(a, b)` to `(-b, a)`, halves of a head. One small product, forward and backward, instead
    /// of the two slices, negation and concatenation it stands for.
    quarter_turn: Tensor<2>,
}

impl RotaryEmbedding {
    /// For heads of `width`, with the wavelengths of base `theta`, those of each pair stretched by its `factor`.
    pub(crate) fn new(width: usize, theta: f64, factor: impl Fn(usize) -> f64) -> Self {
        let frequencies = (0..width / 2)
            .map(|pair| (frequency(pair, width, theta) / factor(pair)) as f32)
            .collect();
        Self { frequencies }
    }

    /// The rotation for `positions`: `rows` times the same number of tokens, row after row.
    pub(crate) fn at(&self, positions: &[usize], rows: usize, device: &Device) -> Rotation {
        let half = self.frequencies.len();
        let tokens = positions.len() / rows;
        let table = |function: fn(f32) -> f32| {
            let mut values = Vec::with_capacity(positions.len() * 2 * half);
            for position in positions {
                let turned = self
                    .frequencies
                    .iter()
                    .map(|frequency| function(*position as f32 * frequency));
                values.extend(turned.clone());
                values.extend(turned);
            }
            Tensor::from_data(TensorData::new(values, [rows, tokens, 1, 2 * half]), device)
        };
        Rotation {
            cosine: table(f32::cos),
            sine: table(f32::sin),
            quarter_turn: quarter_turn(half, device),
        }
    }
}

/// The angle from one position to the next, in radians, of a `pair` of dimensions of a head of `width`.
pub(crate) fn frequency(pair: usize, width: usize, theta: f64) -> f64 {
    theta.powf(-2.0 * pair as f64 / width as f64)
}

impl Rotation {
    /// Turns `x` `[batch, tokens, heads, width]`.
    pub(crate) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let dtype = x.dtype();
        let turned = kernels::linear(x.clone(), self.quarter_turn.clone().cast(dtype), None);
        x * self.cosine.clone().cast(dtype) + turned * self.sine.clone().cast(dtype)
    }
}

fn quarter_turn(half: usize, device: &Device) -> Tensor<2> {
    let width = 2 * half;
    let mut values = vec![0.0f32; width * width];
    for pair in 0..half {
        values[pair * width + pair + half] = -1.0;
        values[(pair + half) * width + pair] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, [width, width]), device)
}
