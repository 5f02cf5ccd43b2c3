//! Layer norm and its gradients, each in one kernel, which reads each row once.

use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::element_wise::sum_rows;
use super::kernel::Kernel;
use super::{Fallible, Gpu, contiguous, empty, gpu_of, held, prepared, submit};

const WANTED: &str = "layer norms in several kernels, since there is no single one";
const FORWARD: &str = "layer_norm";
const BACKWARD: &str = "layer_norm_backward";
const BACKWARD_OF_X: &str = "layer_norm_backward_of_x";
/// A warp reads so many numbers at once.
const STEP: usize = 128;
/// Wider rows do not fit into the registers of a warp.
const WIDEST: usize = 4096;
/// Wider ones leave no room for sums over rows beside them.
const WIDEST_WITH_PARAMETERS: usize = 1536;
/// Rows of a block.
const WARPS: usize = 4;
/// Blocks that share the rows where sums over them are made: enough for all processors of a GPU.
const BLOCKS: usize = 132;

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    x: u64,
    weight: u64,
    bias: u64,
    result: u64,
    rows: i32,
    single: i32,
    single_parameters: i32,
    epsilon: f32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Arguments {}

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Backward {
    x: u64,
    weight: u64,
    gradient: u64,
    of_x: u64,
    of_weight: u64,
    of_bias: u64,
    rows: i32,
    single: i32,
    single_parameters: i32,
    epsilon: f32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Backward {}

fn kernel(name: &'static str, width: usize, dtypes: [DType; 2]) -> Kernel {
    Kernel {
        name,
        source: include_str!("layer_norm.cu"),
        width,
        half: dtypes.contains(&DType::F16),
        shared: 0,
    }
}

/// Whether there are kernels for rows as those of `x` `[.., width]`, which is not on a graph; also for gradients of x and, where those
/// are `learned`, of the parameters.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>, parameters: [&Tensor<1>; 2], learned: bool) -> bool {
    let (dtype, shape) = (x.dtype(), x.dims());
    let width = shape[D - 1];
    let widest = if learned { WIDEST_WITH_PARAMETERS } else { WIDEST };
    let [weight, bias] = parameters.map(|parameter| parameter.dtype());
    let known = |dtype| matches!(dtype, DType::F32 | DType::BF16 | DType::F16);
    let fits = known(dtype)
        && known(weight)
        && weight == bias
        && (dtype == weight || dtype == DType::F32 || weight == DType::F32)
        && width.is_multiple_of(STEP)
        && (STEP..=widest).contains(&width)
        && i32::try_from(shape.iter().product::<usize>()).is_ok()
        && !shape.contains(&0);
    let device = gpu_of(x).filter(|_| fits);
    device.is_some_and(|device| prepared(device, WANTED, &kernel(FORWARD, width, [dtype, weight])))
}

/// As [`crate::layer_norm`].
pub(super) fn forward(x: &CubeTensor, weight: &CubeTensor, bias: &CubeTensor, epsilon: f64) -> CubeTensor {
    let (shape, dtype, parameters) = (x.meta.shape().clone(), x.dtype, weight.dtype);
    let (rows, width) = rows_and_width(&shape);
    let [x, weight, bias] = [x, weight, bias].map(contiguous);
    let [result] = submit([empty(&x, shape, dtype)], move |gpu, [result]| {
        let (x, weight, bias, to) = (held(&x)?, held(&weight)?, held(&bias)?, held(result)?);
        let arguments = Arguments {
            x: x.0,
            weight: weight.0,
            bias: bias.0,
            result: to.0,
            rows: rows as i32,
            single: (dtype == DType::F32).into(),
            single_parameters: (parameters == DType::F32).into(),
            epsilon: epsilon as f32,
        };
        let kernel = kernel(FORWARD, width, [dtype, parameters]);
        // SAFETY: the memory is held, and as large as the shapes say.
        unsafe { gpu.launch(&kernel, [rows.div_ceil(WARPS), 1, 1], WARPS, &arguments) }
    });
    result
}

/// The gradients of `x`, weight and bias, of that of the result.
pub(super) fn backward(
    x: &CubeTensor,
    weight: &CubeTensor,
    gradient: &CubeTensor,
    epsilon: f64,
) -> [CubeTensor; 3] {
    let arguments = [x, weight, gradient].map(contiguous);
    let (rows, width) = rows_and_width(x.meta.shape());
    let blocks = rows.div_ceil(WARPS).min(BLOCKS);
    let [of_weight, of_bias] = [(); 2].map(|()| empty(x, [width].into(), DType::F32));
    let of_x = empty(x, x.meta.shape().clone(), x.dtype);
    submit(
        [of_x, of_weight, of_bias],
        move |gpu, [of_x, of_weight, of_bias]| {
            gpu.in_order(|gpu| {
                let summed = [blocks * WARPS, width];
                let mut sums = || gpu.scratch.take(summed[0] * width * size_of::<f32>());
                let sums = [sums()?, sums()?];
                differentiate(gpu, &arguments, epsilon, blocks, of_x, Some(sums))?;
                sum_rows(gpu, sums[0], summed, of_weight)?;
                sum_rows(gpu, sums[1], summed, of_bias)
            })
        },
    )
}

/// The first of these alone.
pub(super) fn backward_of_x(
    x: &CubeTensor,
    weight: &CubeTensor,
    gradient: &CubeTensor,
    epsilon: f64,
) -> CubeTensor {
    let arguments = [x, weight, gradient].map(contiguous);
    let (rows, _) = rows_and_width(x.meta.shape());
    let of_x = empty(x, x.meta.shape().clone(), x.dtype);
    let [of_x] = submit([of_x], move |gpu, [of_x]| {
        differentiate(gpu, &arguments, epsilon, rows.div_ceil(WARPS), of_x, None)
    });
    of_x
}

/// Writes the gradient of `x`; those of the parameters go to the addresses `sums`, a row for each warp, where those are given.
fn differentiate(
    gpu: &mut Gpu,
    [x, weight, gradient]: &[CubeTensor; 3],
    epsilon: f64,
    blocks: usize,
    of_x: &CubeTensor,
    sums: Option<[u64; 2]>,
) -> Fallible<()> {
    let (dtype, parameters) = (x.dtype, weight.dtype);
    let (rows, width) = rows_and_width(x.meta.shape());
    let (x, weight, gradient, to) = (held(x)?, held(weight)?, held(gradient)?, held(of_x)?);
    let arguments = Backward {
        x: x.0,
        weight: weight.0,
        gradient: gradient.0,
        of_x: to.0,
        of_weight: sums.map_or(0, |[of_weight, _]| of_weight),
        of_bias: sums.map_or(0, |[_, of_bias]| of_bias),
        rows: rows as i32,
        single: (dtype == DType::F32).into(),
        single_parameters: (parameters == DType::F32).into(),
        epsilon: epsilon as f32,
    };
    let name = if sums.is_some() { BACKWARD } else { BACKWARD_OF_X };
    let kernel = kernel(name, width, [dtype, parameters]);
    // SAFETY: the memory is held, and as large as the shapes say.
    unsafe { gpu.launch(&kernel, [blocks, 1, 1], WARPS, &arguments) }
}

fn rows_and_width(shape: &Shape) -> (usize, usize) {
    let width = shape[shape.num_dims() - 1];
    (shape.num_elements() / width, width)
}
