//! GELU, its gradient, and AdamW, each in one kernel.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::kernel::Kernel;
use super::{contiguous, empty, gpu_of, held, prepared, where_is};
use crate::AdamWStep;

const WANTED: &str = "activations and steps of the optimiser in several kernels, since there is no single one";
const GELU: &str = "gelu";
const GELU_BACKWARD: &str = "gelu_backward";
const ADAMW: &str = "adamw";
/// Of a block.
const WARPS: usize = 8;

/// As the kernels have them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Activation {
    x: u64,
    gradient: u64,
    result: u64,
    count: i64,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Activation {}

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Step {
    parameter: u64,
    gradient: u64,
    first: u64,
    second: u64,
    scale: u64,
    new_parameter: u64,
    new_first: u64,
    new_second: u64,
    count: i64,
    kept: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    correction: f32,
    epsilon: f32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Step {}

/// A thread takes two numbers of 16 bits, or one of 32.
fn at_once(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 1,
        _ => 2,
    }
}

fn kernel(name: &'static str, dtype: DType) -> Kernel {
    Kernel {
        name,
        source: include_str!("element_wise.cu"),
        width: at_once(dtype),
        half: dtype == DType::F16,
        shared: 0,
    }
}

fn blocks(count: usize, dtype: DType) -> [usize; 3] {
    [count.div_ceil(at_once(dtype)).div_ceil(32 * WARPS), 1, 1]
}

/// Whether there are kernels for numbers as those of `x`, which is not on a graph.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>) -> bool {
    let (dtype, count) = (x.dtype(), x.shape().num_elements());
    let fits = matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
        && count > 0
        && count.is_multiple_of(at_once(dtype));
    let number = gpu_of(x).filter(|_| fits);
    number.is_some_and(|number| prepared(number, WANTED, &kernel(GELU, dtype)))
}

/// As [`crate::gelu`]; with the gradient of its result, that of `x`. None where the GPU does not take it.
pub(super) fn gelu(x: &CubeTensor, gradient: Option<&CubeTensor>) -> Option<CubeTensor> {
    where_is(x, WANTED, |gpu| {
        let (shape, dtype) = (x.meta.shape().clone(), x.dtype);
        let count = shape.num_elements();
        let result = empty(x, shape, dtype);
        let (x, gradient) = (contiguous(x), gradient.map(contiguous));
        let (x, to) = (held(&x)?, held(&result)?);
        let gradient = gradient.as_ref().map(held).transpose()?;
        let arguments = Activation {
            x: x.0,
            gradient: gradient.as_ref().map_or(0, |gradient| gradient.0),
            result: to.0,
            count: count as i64,
        };
        let name = if gradient.is_some() { GELU_BACKWARD } else { GELU };
        // SAFETY: the memory is held, and as large as the shape says.
        unsafe { gpu.launch(&kernel(name, dtype), blocks(count, dtype), WARPS, &arguments) }?;
        Ok(Some(result))
    })
}

/// As [`crate::adamw`], all in single precision, with the factor on the gradient `[1]` on the device: the new parameter, first and
/// second moment. None where the GPU does not take it.
pub(super) fn adamw(tensors: [&CubeTensor; 4], scale: &CubeTensor, step: &AdamWStep) -> Option<[CubeTensor; 3]> {
    let [parameter, ..] = tensors;
    where_is(parameter, WANTED, |gpu| {
        let shape = parameter.meta.shape();
        let count = shape.num_elements();
        let results = [(); 3].map(|()| empty(parameter, shape.clone(), DType::F32));
        let [parameter, gradient, first, second] = tensors.map(contiguous);
        let (parameter, gradient) = (held(&parameter)?, held(&gradient)?);
        let (first, second, scale) = (held(&first)?, held(&second)?, held(scale)?);
        let (new_parameter, new_first, new_second) = (held(&results[0])?, held(&results[1])?, held(&results[2])?);
        let (first_correction, second_correction) = step.corrections();
        let arguments = Step {
            parameter: parameter.0,
            gradient: gradient.0,
            first: first.0,
            second: second.0,
            scale: scale.0,
            new_parameter: new_parameter.0,
            new_first: new_first.0,
            new_second: new_second.0,
            count: count as i64,
            kept: (1.0 - step.learning_rate * step.weight_decay) as f32,
            beta1: step.beta1 as f32,
            rest1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            rest2: (1.0 - step.beta2) as f32,
            rate: (step.learning_rate * first_correction) as f32,
            correction: second_correction as f32,
            epsilon: step.epsilon as f32,
        };
        let blocks = blocks(count, DType::F32);
        // SAFETY: the memory is held, and as large as the shape says.
        unsafe { gpu.launch(&kernel(ADAMW, DType::F32), blocks, WARPS, &arguments) }?;
        Ok(Some(results))
    })
}
