//! The frozen encoder's features of a step's pictures: computed now, or read from where they were stored once.

use std::borrow::Borrow;

use blip2::LoadedEncoder;
use blip2_data::features::FeatureStore;
use blip2_data::pixels::RgbImage;
use burn::tensor::{Device, Tensor};

use crate::{Row, TrainError};

/// Where image features come from.
pub trait FeatureSource {
    /// Features `[rows, tokens, width]` of the rows' pictures, in single precision, on `device` without gradient: before the
    /// layer norm that is trained.
    ///
    /// # Errors
    /// [`TrainError`] where a row has no picture, or none is stored for it.
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError>;
}

/// Stored: the rows' indices name them. Half precision, mapped into memory.
impl FeatureSource for FeatureStore {
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        let indices: Vec<usize> = rows.iter().map(|row| row.index as usize).collect();
        Ok(self.batch(&indices, device)?)
    }
}

/// Live: the encoder works in every step, on pictures as the loader drew them, outside of autodiff.
pub struct Live<'a> {
    /// Frozen.
    pub encoder: &'a LoadedEncoder,
}

impl FeatureSource for Live<'_> {
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        let pictures = rows.iter().map(Row::seen).collect::<Result<Vec<_>, _>>()?;
        let features = encode(self.encoder, &pictures, &device.clone().inner())?;
        Ok(match device.is_autodiff() {
            true => Tensor::from_inner(features).to_device(device),
            false => features,
        })
    }
}

/// Pictures that go through the encoder at once.
const AT_ONCE: usize = 32;

/// The frozen encoder's features `[pictures, tokens, width]`, on `device`, which has no autodiff.
///
/// # Errors
/// [`TrainError::Pixels`] or [`TrainError::Model`] where pictures and encoder do not fit each other.
pub fn encode<P: Borrow<RgbImage>>(
    encoder: &LoadedEncoder,
    pictures: &[P],
    device: &Device,
) -> Result<Tensor<3>, TrainError> {
    let batches = pictures
        .chunks(AT_ONCE)
        .map(|chunk| Ok(encoder.encoder.encode(encoder.processor.batch(chunk, device)?)?))
        .collect::<Result<Vec<_>, TrainError>>()?;
    Ok(Tensor::cat(batches, 0))
}
