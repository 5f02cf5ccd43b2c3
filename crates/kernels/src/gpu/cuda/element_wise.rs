//! GELU, its gradient, AdamW, and rounding, each in one kernel.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::kernel::Kernel;
use super::{Fallible, Gpu, contiguous, dense, empty, gpu_of, held, prepared, shaped, submit};
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
    let device = gpu_of(x).filter(|_| fits);
    device.is_some_and(|device| prepared(device, WANTED, &kernel(GELU, dtype)))
}

/// As [`crate::gelu`]; with the gradient of its result, that of `x`.
pub(super) fn gelu(x: &CubeTensor, gradient: Option<&CubeTensor>) -> CubeTensor {
    let (shape, dtype) = (x.meta.shape().clone(), x.dtype);
    let count = shape.num_elements();
    let (x, gradient) = (contiguous(x), gradient.map(contiguous));
    let [result] = submit([empty(&x, shape, dtype)], move |gpu, [result]| {
        let (x, to) = (held(&x)?, held(result)?);
        let gradient = gradient.as_ref().map(held).transpose()?;
        let arguments = Activation {
            x: x.0,
            gradient: gradient.as_ref().map_or(0, |gradient| gradient.0),
            result: to.0,
            count: count as i64,
        };
        let name = if gradient.is_some() { GELU_BACKWARD } else { GELU };
        // SAFETY: the memory is held, and as large as the shape says.
        unsafe { gpu.launch(&kernel(name, dtype), blocks(count, dtype), WARPS, &arguments) }
    });
    result
}

/// As [`crate::adamw`], all in single precision, with the factor on the gradient `[1]` on the device: the new parameter, first and
/// second moment.
pub(super) fn adamw(tensors: [&CubeTensor; 4], scale: CubeTensor, factors: Factors) -> [CubeTensor; 3] {
    let [parameter, ..] = tensors;
    let shape = parameter.meta.shape();
    let count = shape.num_elements();
    let results = [(); 3].map(|()| empty(parameter, shape.clone(), DType::F32));
    let tensors = tensors.map(contiguous);
    submit(results, move |gpu, results| {
        let [parameter, gradient, first, second] = &tensors;
        let (parameter, gradient) = (held(parameter)?, held(gradient)?);
        let (first, second, scale) = (held(first)?, held(second)?, held(&scale)?);
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
        unsafe { gpu.launch(&kernel(ADAMW, DType::F32), blocks, WARPS, &arguments) }
    })
}

/// The sum of the squares of `x`, in single precision: `[1]` in double precision.
pub(super) fn squares(x: &CubeTensor) -> CubeTensor {
    let count = x.meta.num_elements();
    let blocks = count.div_ceil(32 * WARPS).min(BLOCKS);
    let sums = empty(x, [1 + blocks].into(), DType::F64);
    let x = dense(x);
    let [sums] = submit([sums], move |gpu, [sums]| {
        let (from, to) = (held(&x)?, held(sums)?);
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
        })
    });
    // The first of them.
    shaped(sums, [1].into())
}

/// Whether rounding is there for the GPU of `x`, which is not on a graph.
pub(super) fn rounds<const D: usize>(x: &Tensor<D>, operands: DType) -> bool {
    let device = gpu_of(x).filter(|_| matches!(operands, DType::BF16 | DType::F16));
    device.is_some_and(|device| prepared(device, WANTED, &kernel(ROUND, operands)))
}

/// `x`, which is [`super::dense`], in the 16 bits of `operands`, lying as it does; what has them already stays.
pub(super) fn rounded(x: &CubeTensor, operands: DType) -> CubeTensor {
    if x.dtype == operands {
        return x.clone();
    }
    let mut result = empty(x, x.meta.shape().clone(), operands);
    *result.meta.strides_mut() = x.meta.strides().clone();
    let x = x.clone();
    let [result] = submit([result], move |gpu, [result]| {
        round(gpu, &x, held(result)?.0, operands)
    });
    result
}

/// Where `x`, which is [`super::dense`], is in the 16 bits of `operands`, lying as it does: for the operation that runs, but for `x` itself.
pub(super) fn as_operand(
    gpu: &mut Gpu,
    x: &CubeTensor,
    operands: DType,
) -> Fallible<(u64, impl Sized + use<>)> {
    let there = held(x)?;
    if x.dtype == operands {
        return Ok((there.0, there));
    }
    let to = gpu.scratch.take(x.meta.num_elements() * operands.size())?;
    round(gpu, x, to, operands)?;
    Ok((to, there))
}

/// Writes `x`, in single precision, to the address `to`.
fn round(gpu: &mut Gpu, x: &CubeTensor, to: u64, operands: DType) -> Fallible<()> {
    if x.dtype != DType::F32 {
        return Err(format!("{:?} is not rounded to {operands:?}", x.dtype));
    }
    let count = x.meta.num_elements();
    let from = held(x)?;
    let arguments = Activation {
        x: from.0,
        gradient: 0,
        result: to,
        count: count as i64,
    };
    let blocks = blocks(count, operands);
    // SAFETY: the memory is held, and as large as the shape says.
    unsafe { gpu.launch(&kernel(ROUND, operands), blocks, WARPS, &arguments) }
}

/// Where `x` `[rows, columns]`, contiguous and in single precision, is in the 16 bits of `operands`, for the operation that runs; writes
/// the sum of its rows to `sum` `[columns]`.
pub(super) fn round_and_sum(
    gpu: &mut Gpu,
    x: &CubeTensor,
    sum: &CubeTensor,
    operands: DType,
) -> Fallible<u64> {
    if x.dtype != DType::F32 {
        return Err(format!("{:?} is not rounded to {operands:?}", x.dtype));
    }
    let shape = x.meta.shape();
    let [rows, columns] = [shape[0], shape[1]];
    let parts = rows.min(PARTS);
    let to = gpu.scratch.take(rows * columns * operands.size())?;
    let sums = gpu.scratch.take(parts * columns * size_of::<f32>())?;
    let from = held(x)?;
    let arguments = Matrix {
        x: from.0,
        rounded: to,
        sums,
        rows: rows as i32,
        columns: columns as i32,
    };
    let warps = 4;
    let blocks = [columns.div_ceil(2 * 32 * warps), parts, 1];
    // SAFETY: the memory is held, and as large as the shapes say.
    unsafe { gpu.launch(&kernel(ROUND_AND_SUM, operands), blocks, warps, &arguments) }?;
    sum_rows(gpu, sums, [parts, columns], sum)?;
    Ok(to)
}

/// Writes the sum of the rows of a matrix `[rows, columns]` in single precision, at the address `x`, to `sum` `[columns]`.
pub(super) fn sum_rows(gpu: &mut Gpu, x: u64, [rows, columns]: [usize; 2], sum: &CubeTensor) -> Fallible<()> {
    let to = held(sum)?;
    let arguments = Sums {
        x,
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
    unsafe { gpu.launch(&kernel, [columns.div_ceil(32), 1, 1], WARPS, &arguments) }
}
