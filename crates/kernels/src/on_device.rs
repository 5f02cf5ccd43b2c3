//! Packed weights on GPUs: they lie there as packed as the device allows, and are unpacked there for each product.

use std::sync::{Mutex, PoisonError};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::flex::bf16::levels::Bits;
use crate::flex::bf16::weight::LevelRows;
use crate::packed::PackedWeight;

/// Numbers that share their bounds.
const BLOCK: usize = 32;
/// Bits of a word of levels.
const WORD: usize = 32;

/// What a device was given of a weight: the last that asked.
#[derive(Default)]
pub(crate) struct OnDevice(Mutex<Option<(Device, Held)>>);

/// A weight `[outputs, inputs]` as a device holds it.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one a weight")]
enum Held {
    /// In bfloat16 where the device computes in it, else in single precision.
    Numbers(Tensor<2>),
    Levels(Levels),
}

/// Whole levels between the bounds of blocks of a row.
#[derive(Clone)]
struct Levels {
    /// `[outputs, words]`: each has several levels, the first in the lowest bits.
    words: Tensor<2, Int>,
    /// `[outputs, blocks]`.
    steps: Tensor<2>,
    /// As `steps`.
    offsets: Tensor<2>,
    /// Of a level.
    bits: usize,
    inputs: usize,
}

impl OnDevice {
    /// All numbers of `weight`, on `device`.
    pub(crate) fn unpacked(&self, weight: &PackedWeight, device: &Device) -> Tensor<2> {
        match self.held(weight, device) {
            Held::Numbers(numbers) => numbers,
            Held::Levels(levels) => levels.unpacked(),
        }
    }

    /// Some rows of `weight` in single precision, on the device of `ids`.
    pub(crate) fn rows(&self, weight: &PackedWeight, ids: Tensor<1, Int>) -> Tensor<2> {
        match self.held(weight, &ids.device().inner()) {
            Held::Numbers(numbers) => numbers.select(0, ids).cast(DType::F32),
            Held::Levels(levels) => levels.select(ids).unpacked(),
        }
    }

    fn held(&self, weight: &PackedWeight, device: &Device) -> Held {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((place, held)) if place == device => held.clone(),
            _ => {
                let new = Held::new(weight, device);
                *held = Some((device.clone(), new.clone()));
                new
            }
        }
    }
}

impl Held {
    fn new(weight: &PackedWeight, device: &Device) -> Self {
        match weight.weight().level_rows() {
            Some(rows) => Self::Levels(Levels::new(rows, weight.dims(), device)),
            None => {
                let dtype = match device.supports_dtype(DType::BF16) {
                    true => DType::BF16,
                    false => DType::F32,
                };
                Self::Numbers(Tensor::from_data(weight.unpacked(), (device, dtype)))
            }
        }
    }
}

impl Levels {
    fn new(rows: LevelRows, [outputs, inputs]: [usize; 2], device: &Device) -> Self {
        let bits = match rows.bits {
            Bits::Four => 4,
            Bits::Eight => 8,
        };
        let word = |levels: &[u8]| {
            let levels = levels.iter().enumerate();
            levels.fold(0, |word, (place, level)| {
                word | u32::from(*level) << (place * bits)
            }) as i32
        };
        let words: Vec<i32> = rows.levels.chunks(WORD / bits).map(word).collect();
        let bounds = |values: Vec<f32>| {
            Tensor::from_data(
                TensorData::new(values, [outputs, rows.blocks]),
                (device, DType::F32),
            )
        };
        let shape = [outputs, rows.blocks * BLOCK * bits / WORD];
        Self {
            words: Tensor::from_data(TensorData::new(words, shape), (device, DType::I32)),
            steps: bounds(rows.steps),
            offsets: bounds(rows.offsets),
            bits,
            inputs,
        }
    }

    fn select(self, ids: Tensor<1, Int>) -> Self {
        Self {
            words: self.words.select(0, ids.clone()),
            steps: self.steps.select(0, ids.clone()),
            offsets: self.offsets.select(0, ids),
            ..self
        }
    }

    /// `[outputs, inputs]` in single precision.
    fn unpacked(self) -> Tensor<2> {
        let ([outputs, words], in_a_word) = (self.words.dims(), WORD / self.bits);
        let shape = [outputs, words, in_a_word];
        let places: Vec<i32> = (0..in_a_word).map(|place| (place * self.bits) as i32).collect();
        let places = TensorData::new(places, [1, 1, in_a_word]);
        let places = Tensor::<3, Int>::from_data(places, (&self.words.device(), DType::I32));
        let levels = self
            .words
            .unsqueeze_dim::<3>(2)
            .expand(shape)
            .bitwise_right_shift(places.expand(shape))
            .bitwise_and_scalar((1 << self.bits) - 1);
        let [_, blocks] = self.steps.dims();
        let levels = levels.reshape([outputs, blocks, BLOCK]).float().cast(DType::F32);
        let numbers = levels * self.steps.unsqueeze_dim(2) + self.offsets.unsqueeze_dim(2);
        numbers
            .reshape([outputs, blocks * BLOCK])
            .narrow(1, 0, self.inputs)
    }
}
