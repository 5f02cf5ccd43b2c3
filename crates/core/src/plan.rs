//! How a model is loaded: where to, and in which numbers it is held.

use blip2_kernels::Packing;
use burn::tensor::{DType, Device};

use crate::weights::{LoadOptions, TensorStore, half_precision};

/// What decides how weights are held once they are loaded. Whoever makes or loads a model is given it; a device alone stands
/// for single precision on it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// Where the weights are, and what is computed with them.
    pub device: Device,
    /// Number format of the weights that are not packed. `None`: as most of the file is, where the device computes in it.
    pub dtype: Option<DType>,
    /// How linear layers and word tables are packed as they are read, each out of the file's own numbers. Such layers are
    /// constants: their input alone gets a gradient.
    pub packing: Option<Packing>,
}

impl LoadPlan {
    /// Weights as their file has them: in half precision where most of it is, else in single precision ([`LoadPlan::resolve`]).
    pub fn as_stored(device: &Device) -> Self {
        Self {
            dtype: None,
            ..Self::from(device)
        }
    }

    /// The same with linear layers packed.
    pub fn packed(self, packing: Option<Packing>) -> Self {
        Self { packing, ..self }
    }

    /// The same on the device without autodiff: the place of a frozen model.
    pub fn frozen(self) -> Self {
        Self {
            device: self.device.inner(),
            ..self
        }
    }

    /// What the plan comes to for the weights in `store`. Where it leaves the number format to the file and most bytes are
    /// f16 or bf16, that is the format on a device that computes in it; on the CPU, whose kernels take 16 bits in packed
    /// layers alone, linear layers are packed in bfloat16 and the little else is f32.
    pub fn resolve(&self, store: &dyn TensorStore) -> Self {
        let (None, None) = (self.dtype, self.packing) else {
            return Self {
                dtype: self.dtype.or(Some(DType::F32)),
                ..self.clone()
            };
        };
        let half = half_precision(store.tensors().values());
        let on_cpu = self.device.clone().inner() == Device::flex();
        Self {
            dtype: half
                .filter(|dtype| !on_cpu && self.device.supports_dtype(*dtype))
                .or(Some(DType::F32)),
            packing: half.filter(|_| on_cpu).map(|_| Packing::Bf16),
            ..self.clone()
        }
    }

    /// How [`load`](crate::weights::load) follows a resolved plan.
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            dtype: self.dtype,
            ..LoadOptions::default()
        }
    }
}

impl From<&Device> for LoadPlan {
    fn from(device: &Device) -> Self {
        Self {
            device: device.clone(),
            dtype: Some(DType::F32),
            packing: None,
        }
    }
}

impl From<&LoadPlan> for LoadPlan {
    fn from(plan: &LoadPlan) -> Self {
        plan.clone()
    }
}
