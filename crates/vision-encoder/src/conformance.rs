//! What every [`VisionEncoder`] must do, as checks that anyone runs on an own encoder.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use blip2_core::{ModelError, VisionEncoder};
use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

/// How far the features of an image may move when it is encoded alone, relative to the largest feature.
const BATCH_TOLERANCE: f32 = 1e-5;
/// How far the features of two unlike images must be apart, relative to the largest feature.
const LEAST_DIFFERENCE: f32 = 1e-3;

/// An encoder that breaks the contract.
#[derive(Debug, Error)]
#[error("the encoder breaks the contract of VisionEncoder:\n  {}", .0.join("\n  "))]
pub struct ConformanceError(
    /// One sentence for each rule that is broken.
    pub Vec<String>,
);

/// Checks `encoder`, whose weights live on `device`, with images of `height` x `width` pixels: shape of the features,
/// the same result twice, a batch the same as its images alone, unlike images told apart, and an error (no panic) for
/// pixels that do not fit.
///
/// # Errors
/// [`ConformanceError`] lists every rule that is broken.
pub fn check(
    encoder: &dyn VisionEncoder,
    height: usize,
    width: usize,
    device: &Device,
) -> Result<(), ConformanceError> {
    let mut suite = Suite {
        encoder,
        device,
        broken: Vec::new(),
    };
    suite.features([3, height, width]);
    suite.refuses("four colours", [2, 4, height, width]);
    suite.refuses("an empty batch", [0, 3, height, width]);
    for (height, width) in [(height + 1, width), (height, width + 1), (0, width), (1, 1)] {
        suite.size(height, width);
    }
    if suite.broken.is_empty() {
        Ok(())
    } else {
        Err(ConformanceError(suite.broken))
    }
}

struct Suite<'a> {
    encoder: &'a dyn VisionEncoder,
    device: &'a Device,
    broken: Vec<String>,
}

impl Suite<'_> {
    fn expect(&mut self, holds: bool, rule: impl Display) {
        if !holds {
            self.broken.push(rule.to_string());
        }
    }

    /// A panic is a broken rule, and gives nothing.
    fn guard<T>(&mut self, what: &str, act: impl FnOnce(&dyn VisionEncoder) -> T) -> Option<T> {
        let encoder = self.encoder;
        let result = catch_unwind(AssertUnwindSafe(|| act(encoder)));
        self.expect(
            result.is_ok(),
            format_args!("it panics for {what}, where an error is due"),
        );
        result.ok()
    }

    /// The features of `pixels` and their values.
    fn encode(&mut self, what: &str, pixels: Tensor<4>) -> Option<([usize; 3], Vec<f32>)> {
        let encoded = self.guard(what, |encoder| {
            encoder
                .encode(pixels)
                .map(|features| (features.dims(), features.into_data().convert::<f32>()))
        })?;
        match encoded {
            Ok((shape, data)) => data.try_into_vec().ok().map(|values| (shape, values)),
            Err(error) => {
                self.expect(false, format_args!("it refuses {what}: {error}"));
                None
            }
        }
    }

    /// What the features of images of a size that the encoder takes must be.
    fn features(&mut self, [channels, height, width]: [usize; 3]) {
        let image = |seed: usize| pattern(seed, [1, channels, height, width], self.device);
        let (first, second) = (image(0), image(1));
        let both = Tensor::cat(vec![first.clone(), second.clone()], 0);
        let Some((shape, batch)) = self.encode("a batch of two images", both.clone()) else {
            return;
        };
        let Some(tokens) = self.guard("its own image size", |encoder| encoder.tokens(height, width)) else {
            return;
        };
        let feature_width = self.encoder.width();
        match tokens {
            Ok(tokens) => self.expect(
                shape == [2, tokens, feature_width],
                format_args!("two images give features {shape:?}, but tokens() and width() say [2, {tokens}, {feature_width}]"),
            ),
            Err(error) => self.expect(false, format_args!("tokens() refuses the size that encode() takes: {error}")),
        }
        self.expect(
            batch.iter().all(|value| value.is_finite()),
            "features are not finite",
        );

        let largest = batch
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let (one, other) = batch.split_at(batch.len() / 2);
        let apart = largest_difference(one, other);
        self.expect(
            apart > LEAST_DIFFERENCE * largest,
            format_args!("two unlike images differ by {apart} in features as large as {largest}: the pixels do not count"),
        );
        if let Some((_, again)) = self.encode("the same batch again", both) {
            self.expect(
                again == batch,
                "the same images give other features the second time",
            );
        }
        for (alone, together) in [(first, one), (second, other)] {
            let Some((_, alone)) = self.encode("one image alone", alone) else {
                continue;
            };
            let apart = largest_difference(&alone, together);
            self.expect(
                alone.len() == together.len() && apart <= BATCH_TOLERANCE * largest,
                format_args!(
                    "an image alone and in a batch differ by {apart} in features as large as {largest}"
                ),
            );
        }
    }

    /// Pixels that no encoder of colour images takes.
    fn refuses(&mut self, what: &str, shape: [usize; 4]) {
        let pixels = pattern(2, shape, self.device);
        if let Some(result) = self.guard(what, |encoder| encoder.encode(pixels)) {
            self.expect(
                matches!(result, Err(ModelError::Shape { .. })),
                format_args!("it takes {what}, where an error of shape is due"),
            );
        }
    }

    /// An image size that may or may not fit: `tokens` and `encode` must agree.
    fn size(&mut self, height: usize, width: usize) {
        let what = format!("an image of {height} x {width} pixels");
        let Some(tokens) = self.guard(&what, |encoder| encoder.tokens(height, width).ok()) else {
            return;
        };
        let pixels = pattern(2, [1, 3, height, width], self.device);
        let Some(encoded) = self.guard(&what, |encoder| {
            encoder.encode(pixels).ok().map(|features| features.dims()[1])
        }) else {
            return;
        };
        self.expect(
            tokens == encoded,
            format_args!(
                "for {what}, tokens() says {tokens:?} and encode() gives {encoded:?} (None: an error)"
            ),
        );
    }
}

/// An image made of waves, another for each seed; values within one of zero.
fn pattern(seed: usize, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|index| ((index * (seed + 1)) as f32 * 0.37 + seed as f32).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}
