//! Linear layers with packed (quantized) weights: weights that stay as they are: packed once, in bfloat16 or as levels of 8 or
//! 4 bits.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::composed;
use crate::extension::{Kernels, facts, maybe, takes};
use crate::flex::bf16::levels::{Bits, OutOfRange};
use crate::flex::bf16::weight::Weight;
#[cfg(feature = "gpu")]
use crate::on_device::OnDevice;
use crate::products::Products;

/// How the numbers of a packed weight are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// In bfloat16: 16 bits a number.
    Bf16,
    /// As one of 256 levels between the least and the largest of 32 neighbours in a row: 9 bits a number.
    Int8,
    /// As one of 16 such levels: 5 bits a number.
    Int4,
}

/// Why a weight cannot be packed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Wrong shape.
    #[error("a weight of shape {0:?} cannot be packed: it must be [outputs, inputs], neither of them zero")]
    Shape(Vec<usize>),
    /// Wrong type.
    #[error("a weight of type {0:?} cannot be packed: it must be f32, f16 or bf16")]
    Type(DType),
    /// A number that no level can stand for.
    #[error("row {row} of the weight holds {value}: levels reach from -65504 to 65504; pack it in bf16")]
    Range {
        /// The row that holds it.
        row: usize,
        /// The number.
        value: f32,
    },
}

/// A weight `[outputs, inputs]` that was packed for [`packed_linear`]. Clones share their memory, and what a GPU was given of it.
#[derive(Clone)]
pub struct PackedWeight(Arc<Shared>);

struct Shared {
    weight: Weight,
    #[cfg(feature = "gpu")]
    on_device: OnDevice,
}

impl fmt::Debug for PackedWeight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PackedWeight({:?}, {:?})", self.dims(), self.packing())
    }
}

impl PackedWeight {
    /// Packs `[outputs, inputs]` in f32, f16 or bf16, some rows at a time. What is in bfloat16 and stays so is kept as it lies,
    /// mapped from a file perhaps, until its second product.
    ///
    /// # Errors
    /// [`PackError`] for another shape or type, and for numbers that levels cannot stand for.
    pub fn new(data: TensorData, packing: Packing) -> Result<Self, PackError> {
        let shape = match *data.shape().as_slice() {
            [outputs, inputs] if outputs > 0 && inputs > 0 => [outputs, inputs],
            _ => return Err(PackError::Shape(data.shape().to_vec())),
        };
        let bits = match packing {
            Packing::Bf16 => None,
            Packing::Int8 => Some(Bits::Eight),
            Packing::Int4 => Some(Bits::Four),
        };
        let wrong = |_| PackError::Type(data.dtype());
        let weight = match data.dtype() {
            DType::F32 => {
                let values = data.as_slice::<f32>().map_err(wrong)?;
                pack(shape, bits, values, |part, target| target.extend_from_slice(part))
            }
            DType::F16 => {
                let values = data.as_slice::<f16>().map_err(wrong)?;
                pack(shape, bits, values, |part, target| {
                    target.extend(part.to_f32_vec())
                })
            }
            DType::BF16 if bits.is_none() => {
                data.as_slice::<bf16>().map_err(wrong)?;
                Ok(Weight::stored(shape, data))
            }
            DType::BF16 => {
                let values = data.as_slice::<bf16>().map_err(wrong)?;
                pack(shape, bits, values, |part, target| {
                    let wide = |value: &bf16| f32::from_bits(u32::from(value.to_bits()) << 16);
                    target.extend(part.iter().map(wide))
                })
            }
            other => return Err(PackError::Type(other)),
        };
        match weight {
            Ok(weight) => Ok(Self(Arc::new(Shared {
                weight,
                #[cfg(feature = "gpu")]
                on_device: OnDevice::default(),
            }))),
            Err(OutOfRange { row, value }) => Err(PackError::Range { row, value }),
        }
    }

    /// `[outputs, inputs]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.weight().outputs(), self.weight().inputs()]
    }

    /// How its numbers are kept.
    pub fn packing(&self) -> Packing {
        match self.weight().bits() {
            None => Packing::Bf16,
            Some(Bits::Eight) => Packing::Int8,
            Some(Bits::Four) => Packing::Int4,
        }
    }

    /// Memory that it takes on the CPU, in bytes.
    pub fn bytes(&self) -> usize {
        self.weight().bytes()
    }

    /// The numbers that it stands for, `[outputs, inputs]` in single precision.
    pub fn unpacked(&self) -> TensorData {
        let [outputs, inputs] = self.dims();
        let mut values = Vec::with_capacity(outputs * inputs);
        // Panels of 16 rows, turned from columns into rows.
        for first in (0..outputs).step_by(16) {
            let rows = first..(first + 16).min(outputs);
            let columns = self.weight().columns(rows.clone(), 0..inputs);
            for row in 0..rows.len() {
                values.extend((0..inputs).map(|column| columns[column * rows.len() + row]));
            }
        }
        TensorData::new(values, [outputs, inputs])
    }

    pub(crate) fn weight(&self) -> &Weight {
        &self.0.weight
    }

    /// What [`PackedWeight::unpacked`] gives as a tensor on `device`, a plain one, of type `dtype`. A GPU is given the packed weight at
    /// the first call, keeps it and unpacks it itself.
    pub(crate) fn unpacked_on(&self, device: &Device, dtype: DType) -> Tensor<2> {
        #[cfg(feature = "gpu")]
        if crate::gpu::serves(device) {
            return self.0.on_device.unpacked(self, device).cast(dtype);
        }
        Tensor::from_data(self.unpacked(), (device, dtype))
    }

    /// The rows of these ids, `[count, inputs]`, in single precision, on the GPU of the ids.
    #[cfg(feature = "gpu")]
    pub(crate) fn rows_on_device(&self, ids: Tensor<1, burn::tensor::Int>) -> Tensor<2> {
        self.0.on_device.rows(self, ids)
    }
}

/// Packs rows that `widen` turns into single precision.
fn pack<T: Sync>(
    [outputs, inputs]: [usize; 2],
    bits: Option<Bits>,
    values: &[T],
    widen: impl Fn(&[T], &mut Vec<f32>) + Sync,
) -> Result<Weight, OutOfRange> {
    Weight::new(
        [outputs, inputs],
        bits,
        |rows: Range<usize>, columns: Range<usize>, target| {
            for row in rows {
                widen(&values[row * inputs..][columns.clone()], target);
            }
        },
    )
}

/// `y = x · weightᵀ + bias`, `x` rounded to bfloat16 for the products and the sums in single precision.
///
/// `x` is `[.., inputs]`, `bias` `[outputs]`; the result is `[.., outputs]`. Weight and bias are constants: `x` alone gets a
/// gradient.
pub fn packed_linear<const D: usize>(
    x: Tensor<D>,
    weight: &PackedWeight,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let [outputs, inputs] = weight.dims();
    assert_eq!(
        x.dims()[D - 1],
        inputs,
        "packed_linear: the last dimension of x {:?} must be that of weight [{outputs}, {inputs}]",
        x.dims()
    );
    if let Some(bias) = &bias {
        assert_eq!(
            bias.dims(),
            [outputs],
            "packed_linear: bias must have one number for each row of weight"
        );
    }
    if !takes(&[facts(&x)]) || !bias.as_ref().is_none_or(|bias| takes(&[facts(bias)])) {
        #[cfg(feature = "gpu")]
        if crate::gpu::takes(&x) {
            return crate::gpu::packed::packed_linear(x, weight, bias);
        }
        let unpacked = weight.unpacked_on(&x.device().inner(), x.dtype());
        return composed::linear(x, unpacked, bias.map(Tensor::detach), Products::Bf16);
    }
    Tensor::from_dispatch(Dispatch::packed_linear(
        x.into_dispatch(),
        weight.clone(),
        maybe(bias),
    ))
}
