//! Models whose weights stay as they are, kept in the type that is asked for.

use blip2_core::LoadPlan;
use blip2_core::layers::Packing;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Distribution, Tensor};
use serde::Deserialize;

use crate::workload::{Phase, Precision};

/// Of random weights.
const DEVIATION: f64 = 0.02;

/// How the weights of linear layers are kept.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Weights {
    /// Single precision.
    #[default]
    F32,
    Bf16,
    Int8,
    Int4,
}

impl Weights {
    /// How linear layers are packed, if they are.
    fn packing(self) -> Option<Packing> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(Packing::Bf16),
            Self::Int8 => Some(Packing::Int8),
            Self::Int4 => Some(Packing::Int4),
        }
    }

    /// Bytes of one number; levels share their two bounds among 32.
    pub(crate) fn bytes(self) -> f64 {
        match self {
            Self::F32 => 4.0,
            Self::Bf16 => 2.0,
            Self::Int8 => 9.0 / 8.0,
            Self::Int4 => 5.0 / 8.0,
        }
    }

    /// This many operations of matrix products: what is packed is multiplied in bf16.
    pub(crate) fn products(self, operations: f64) -> Phase {
        match self {
            Self::F32 => Precision::F32.products(operations),
            _ => Precision::Bf16.products(operations),
        }
    }

    /// Models on `device` that keep their weights so. A GPU that computes in bfloat16 has such weights as they are.
    pub(crate) fn plan(self, device: &Device) -> LoadPlan {
        let plan = LoadPlan::from(device);
        match self {
            Self::Bf16 if *device != Device::flex() && device.supports_dtype(DType::BF16) => LoadPlan {
                dtype: Some(DType::BF16),
                ..plan
            },
            _ => plan.packed(self.packing()),
        }
    }
}

/// A model of random weights with all of them drawn, in the number format of `plan`: until then there is nothing to pack.
pub(crate) fn drawn<M: Module>(model: M, plan: &LoadPlan) -> M {
    let dtype = plan.dtype.unwrap_or(DType::F32);
    model.map(&mut Draw { dtype })
}

/// Draws each parameter: what is to be packed is packed as soon as it has values. On a GPU matrices are drawn there: a processor takes
/// minutes for billions of numbers.
struct Draw {
    dtype: DType,
}

impl ModuleMapper for Draw {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let device = parameter.lazy_device();
        if D > 1 && device != Device::flex() {
            let numbers = Distribution::Normal(0.0, DEVIATION);
            let values = Tensor::<D>::random(parameter.lazy_shape(), numbers, (&device, self.dtype));
            return Param::initialized(parameter.id, values);
        }
        parameter.map(|values| values.cast(self.dtype))
    }
}
