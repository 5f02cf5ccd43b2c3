//! Reference values as burn's tensors.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{Numbers, TensorFile};

/// Where golden tests compute.
pub fn device() -> Device {
    Device::flex()
}

impl TensorFile {
    /// A tensor of the file as f32 on [`device`]. A scalar comes as one value.
    pub fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let array = self.array(name);
        let shape = match array.shape.is_empty() {
            true => vec![1],
            false => array.shape,
        };
        let values: Vec<f32> = array.values.iter().map(|value| *value as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &device())
    }
}

impl<const D: usize> Numbers for Tensor<D> {
    fn shape(&self) -> Option<Vec<usize>> {
        Some(self.dims().to_vec())
    }

    fn values(&self) -> Vec<f64> {
        self.to_data().iter::<f64>().collect()
    }
}

impl Numbers for TensorData {
    fn shape(&self) -> Option<Vec<usize>> {
        Some(TensorData::shape(self).to_vec())
    }

    fn values(&self) -> Vec<f64> {
        self.iter::<f64>().collect()
    }
}
