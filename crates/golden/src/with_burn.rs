//! Reference values as burn's tensors.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{DEVICE, Numbers, TensorFile};

/// Where golden tests compute: on `flex`, or where `BLIP2_TEST_DEVICE` says, `cuda`, `wgpu` or `libtorch`, as far as this
/// crate is built with the feature (`cuda`, `wgpu`, `tch`).
///
/// # Panics
/// On any other name.
pub fn device() -> Device {
    match std::env::var(DEVICE).unwrap_or_default().as_str() {
        "" | "flex" => Device::flex(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(burn::tensor::DeviceIndex::Default),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "tch")]
        #[expect(deprecated, reason = "kept to compare with, as long as burn has it")]
        "libtorch" => Device::libtorch(),
        other => {
            panic!("{DEVICE} is `{other}`: it is no device, or blip2-golden is built without its feature")
        }
    }
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
