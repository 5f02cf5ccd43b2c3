//! GELU, its gradient, AdamW, and rounding, each in one kernel.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::kernel::Kernel;
use super::{Fallible, Gpu, contiguous, dense, empty, gpu_of, held, prepared, shaped, where_is};
use crate::AdamWStep;

const WANTED: &str =
    "activations and steps of the optimiser in several kernels, since there is no single one";
const GELU: &str = "gelu";
const GELU_BACKWARD: &str = "gelu_backward";
const ADAMW: &str = "adamw";
const ROUND: &str = "round_numbers";
const ROUND_AND_SUM: &str = "round_and_sum";
const SUM_ROWS: &str = "sum_rows";
const SQUARES: &str = "squares";
const ALL_SQUARES: &str = "all_squares";
/// Blocks that share the squares of a tensor, at most.
const BLOCKS: usize = 264;
/// Parts of the rows of a matrix that are summed side by side.
const PARTS: usize = 64;
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

/// As the kernel has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Matrix {
    x: u64,
    rounded: u64,
    sums: u64,
    rows: i32,
    columns: i32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Matrix {}

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sums {
    x: u64,
    result: u64,
    rows: i32,
    columns: i32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Sums {}

/// As the kernels have them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Squares {
    x: u64,
    sums: u64,
    count: i64,
    blocks: i32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Squares {}

/// What a step of AdamW takes beside tensors, as the kernel has it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    kept: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    correction: f32,
    epsilon: f32,
}

impl From<&AdamWStep> for Factors {
    fn from(step: &AdamWStep) -> Self {
        let (first_correction, second_correction) = step.corrections();
        Self {
            kept: (1.0 - step.learning_rate * step.weight_decay) as f32,
            beta1: step.beta1 as f32,
            rest1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            rest2: (1.0 - step.beta2) as f32,
            rate: (step.learning_rate * first_correction) as f32,
            correction: second_correction as f32,
            epsilon: step.epsilon as f32,
        }
    }
}

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
    factors: Factors,
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
pub(super) fn adamw(
    tensors: [&CubeTensor; 4],
    scale: &CubeTensor,
    factors: Factors,
) -> Option<[CubeTensor; 3]> {
    let [parameter, ..] = tensors;
    where_is(parameter, WANTED, |gpu| {
        let shape = parameter.meta.shape();
        let count = shape.num_elements();
        let results = [(); 3].map(|()| empty(parameter, shape.clone(), DType::F32));
        let [parameter, gradient, first, second] = tensors.map(contiguous);
        let (parameter, gradient) = (held(&parameter)?, held(&gradient)?);
        let (first, second, scale) = (held(&first)?, held(&second)?, held(scale)?);
        let (new_parameter, new_first, new_second) =
            (held(&results[0])?, held(&results[1])?, held(&results[2])?);
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
            factors,
        };
        let blocks = blocks(count, DType::F32);
        // SAFETY: the memory is held, and as large as the shape says.
        unsafe { gpu.launch(&kernel(ADAMW, DType::F32), blocks, WARPS, &arguments) }?;
        Ok(Some(results))
    })
}

/// The sum of the squares of `x`, in single precision: `[1]` in double precision. None where the GPU does not take it.
pub(super) fn squares(x: &CubeTensor) -> Option<CubeTensor> {
    where_is(x, WANTED, |gpu| {
        let count = x.meta.num_elements();
        let blocks = count.div_ceil(32 * WARPS).min(BLOCKS);
        let sums = empty(x, [1 + blocks].into(), DType::F64);
        let x = dense(x);
        let (from, to) = (held(&x)?, held(&sums)?);
        let arguments = Squares {
            x: from.0,
            sums: to.0,
            count: count as i64,
            blocks: blocks as i32,
        };
        let kernel = |name| Kernel {
            // A number for each thread.
            shared: 32 * WARPS * size_of::<f64>(),
            ..kernel(name, DType::F32)
        };
        gpu.in_order(|gpu| {
            // SAFETY: the memory is held, and as large as the shapes say.
            unsafe {
                gpu.launch(&kernel(SQUARES), [blocks, 1, 1], WARPS, &arguments)?;
                gpu.launch(&kernel(ALL_SQUARES), [1, 1, 1], WARPS, &arguments)
            }
        })?;
        // The first of them.
        Ok(Some(shaped(sums, [1].into())))
    })
}

/// Whether [`rounded`] and its like are there for the GPU of `x`, which is not on a graph.
pub(super) fn rounds<const D: usize>(x: &Tensor<D>, operands: DType) -> bool {
    let number = gpu_of(x).filter(|_| matches!(operands, DType::BF16 | DType::F16));
    number.is_some_and(|number| prepared(number, WANTED, &kernel(ROUND, operands)))
}

/// `x`, which is [`super::dense`], in the 16 bits of `operands`, lying as it does. What has them already stays.
pub(super) fn rounded(gpu: &mut Gpu, x: &CubeTensor, operands: DType) -> Fallible<CubeTensor> {
    if x.dtype == operands {
        return Ok(x.clone());
    }
    if x.dtype != DType::F32 {
        return Err(format!("{:?} is not rounded to {operands:?}", x.dtype));
    }
    let count = x.meta.num_elements();
    let mut result = empty(x, x.meta.shape().clone(), operands);
    let (from, to) = (held(x)?, held(&result)?);
    let arguments = Activation {
        x: from.0,
        gradient: 0,
        result: to.0,
        count: count as i64,
    };
    let blocks = blocks(count, operands);
    // SAFETY: the memory is held, and as large as the shape says.
    unsafe { gpu.launch(&kernel(ROUND, operands), blocks, WARPS, &arguments) }?;
    *result.meta.strides_mut() = x.meta.strides().clone();
    Ok(result)
}

/// `x` `[rows, columns]`, contiguous and in single precision, in the 16 bits of `operands`, and the sum of its rows `[columns]`.
pub(super) fn rounded_and_summed(
    gpu: &mut Gpu,
    x: &CubeTensor,
    operands: DType,
) -> Fallible<[CubeTensor; 2]> {
    let shape = x.meta.shape();
    let [rows, columns] = [shape[0], shape[1]];
    let parts = rows.min(PARTS);
    let result = empty(x, shape.clone(), operands);
    let sums = empty(x, [parts, columns].into(), DType::F32);
    let (from, to, sums_at) = (held(x)?, held(&result)?, held(&sums)?);
    let arguments = Matrix {
        x: from.0,
        rounded: to.0,
        sums: sums_at.0,
        rows: rows as i32,
        columns: columns as i32,
    };
    let warps = 4;
    let blocks = [columns.div_ceil(2 * 32 * warps), parts, 1];
    // SAFETY: the memory is held, and as large as the shapes say.
    unsafe { gpu.launch(&kernel(ROUND_AND_SUM, operands), blocks, warps, &arguments) }?;
    Ok([result, summed(gpu, &sums)?])
}

/// The sum of the rows of `x` `[rows, columns]`, contiguous and in single precision: `[columns]`.
pub(super) fn summed(gpu: &mut Gpu, x: &CubeTensor) -> Fallible<CubeTensor> {
    let shape = x.meta.shape();
    let [rows, columns] = [shape[0], shape[1]];
    let result = empty(x, [columns].into(), DType::F32);
    let (from, to) = (held(x)?, held(&result)?);
    let arguments = Sums {
        x: from.0,
        result: to.0,
        rows: rows as i32,
        columns: columns as i32,
    };
    let kernel = Kernel {
        // A number for each thread.
        shared: 32 * WARPS * size_of::<f32>(),
        ..kernel(SUM_ROWS, DType::F32)
    };
    // SAFETY: the memory is held, and as large as the shapes say.
    unsafe { gpu.launch(&kernel, [columns.div_ceil(32), 1, 1], WARPS, &arguments) }?;
    Ok(result)
}
