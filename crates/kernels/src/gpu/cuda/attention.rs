//! Attention in one kernel.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::element_wise::as_operand;
use super::kernel::Kernel;
use super::{Fallible, contiguous, dense, empty, gpu_of, held, prepared, submit};

const WANTED: &str = "attention out of products and softmax, since there is no kernel for it";
/// Wider heads do not fit into the registers.
const WIDEST: usize = 128;
/// Wider heads do not fit into shared memory, of which the smallest GPUs have 99 KB.
const WIDEST_IN_SINGLE: usize = 256;

/// How scores become weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores {
    pub(crate) scale: f64,
    pub(crate) causal: bool,
    /// What query, key and value are rounded to.
    pub(crate) operands: DType,
}

/// As the kernel has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Operand {
    numbers: u64,
    row: i64,
    head: i64,
    token: i64,
}

/// As the kernel has it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Bias {
    numbers: u64,
    row: i64,
    head: i64,
    query: i64,
    key: i64,
}

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    query: Operand,
    key: Operand,
    value: Operand,
    bias: Bias,
    result: u64,
    logarithms: u64,
    heads: i32,
    heads_per_key: i32,
    queries: i32,
    keys: i32,
    causal: i32,
    single: i32,
    scale: f32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Arguments {}

/// Whether there is a kernel for the heads of `query` `[batch, heads, queries, width]`, with operands rounded to `operands`.
pub(crate) fn serves(query: &Tensor<4>, operands: DType) -> bool {
    let [batch, heads, _, width] = query.dims();
    let fits = match operands {
        DType::BF16 | DType::F16 => width.is_multiple_of(8) && (8..=WIDEST).contains(&width),
        DType::F32 => (1..=WIDEST_IN_SINGLE).contains(&width),
        _ => false,
    };
    let grid = heads <= u16::MAX.into() && batch <= u16::MAX.into();
    let device = gpu_of(query).filter(|_| fits && grid);
    let there = |device| prepared(device, WANTED, &Way::of(operands).kernel(Step::Forward, width));
    device.is_some_and(there) && (operands == DType::F32 || super::element_wise::rounds(query, operands))
}

/// What the kernels compute.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Forward,
    OfQuery,
    OfKeys,
}

/// How the kernels do it.
pub(super) struct Way {
    operands: DType,
    /// Tokens of a warp.
    rows: usize,
    /// Warps of a block, at most.
    warps: usize,
}

impl Way {
    pub(super) fn of(operands: DType) -> Self {
        let (rows, warps) = match operands {
            DType::F32 => (1, 8),
            _ => (16, 6),
        };
        Self {
            operands,
            rows,
            warps,
        }
    }

    pub(super) fn kernel(&self, step: Step, width: usize) -> Kernel {
        const SINGLE: &str = include_str!("attention_single.cu");
        const FORWARD: &str = concat!(include_str!("attention.cuh"), include_str!("attention.cu"));
        const BACKWARD: &str = concat!(
            include_str!("attention.cuh"),
            include_str!("attention_backward.cu")
        );

        let single = self.operands == DType::F32;
        let (name, source) = match (step, single) {
            (Step::Forward, false) => ("attention", FORWARD),
            (Step::OfQuery, false) => ("attention_backward_of_query", BACKWARD),
            (Step::OfKeys, false) => ("attention_backward_of_keys", BACKWARD),
            (Step::Forward, true) => ("attention_single", SINGLE),
            (Step::OfQuery, true) => ("attention_single_backward_of_query", SINGLE),
            (Step::OfKeys, true) => ("attention_single_backward_of_keys", SINGLE),
        };
        let shared = match single {
            // Tiles of two operands, 32 tokens an odd number apart, and a token of each for every warp.
            true => (2 * 32 * (width | 1) + self.warps * 2 * width) * size_of::<f32>(),
            // Two tiles of 64 tokens of two operands, an odd number of 16 bytes apart.
            false => 2 * 2 * 64 * ((width / 8) | 1) * 8 * size_of::<u16>(),
        };
        Kernel {
            name,
            source,
            width,
            half: self.operands == DType::F16,
            shared,
        }
    }

    /// As many warps for each block as leave few without tokens.
    pub(super) fn blocks_and_warps(&self, tokens: usize) -> (usize, usize) {
        let tiles = tokens.div_ceil(self.rows);
        let blocks = tiles.div_ceil(self.warps);
        (blocks, tiles.div_ceil(blocks))
    }
}

/// `query` `[batch, heads, queries, width]`, `key` and `value` `[batch, key heads, keys, width]`, rounded as `scores` says, `bias` in single
/// precision and broadcast to `[batch, heads, queries, keys]`: to `[batch, queries, heads, width]` of the type of the query, and the
/// logarithms of the sums of powers `[batch, heads, queries]`.
pub(super) fn forward(
    arguments: [&CubeTensor; 3],
    bias: Option<CubeTensor>,
    scores: Scores,
) -> [CubeTensor; 2] {
    let [query, key, _] = arguments;
    let shape = query.meta.shape();
    let [batch, heads, queries, width] = [shape[0], shape[1], shape[2], shape[3]];
    let [key_heads, keys] = [key.meta.shape()[1], key.meta.shape()[2]];
    let dtype = query.dtype;
    let result = empty(query, [batch, queries, heads, width].into(), dtype);
    let logarithms = empty(query, [batch, heads, queries].into(), DType::F32);
    let arguments = arguments.map(readable);
    submit([result, logarithms], move |gpu, [result, logarithms]| {
        gpu.in_order(|gpu| {
            let [query, key, value] = &arguments;
            let of_query = as_operand(gpu, query, scores.operands)?;
            let of_key = as_operand(gpu, key, scores.operands)?;
            let of_value = as_operand(gpu, value, scores.operands)?;
            let (to, logarithms) = (held(result)?, held(logarithms)?);
            let bias_held = bias.as_ref().map(held).transpose()?;
            let arguments = Arguments {
                query: Operand::at(of_query.0, query),
                key: Operand::at(of_key.0, key),
                value: Operand::at(of_value.0, value),
                bias: broadcast(bias.as_ref(), bias_held.as_ref().map(|held| held.0)),
                result: to.0,
                logarithms: logarithms.0,
                heads: number(heads)?,
                heads_per_key: number(heads / key_heads)?,
                queries: number(queries)?,
                keys: number(keys)?,
                causal: scores.causal.into(),
                single: (dtype == DType::F32).into(),
                scale: scores.scale as f32,
            };
            let way = Way::of(scores.operands);
            let (blocks, warps) = way.blocks_and_warps(queries);
            let kernel = way.kernel(Step::Forward, width);
            // SAFETY: the memory is held, and as large as the shapes say.
            unsafe { gpu.launch(&kernel, [blocks, heads, batch], warps, &arguments) }
        })
    })
}

impl Operand {
    /// `x` `[batch, heads, tokens, width]`, which begins at `address`.
    pub(super) fn at(address: u64, x: &CubeTensor) -> Self {
        let strides = x.meta.strides();
        Self {
            numbers: address,
            row: strides[0] as i64,
            head: strides[1] as i64,
            token: strides[2] as i64,
        }
    }
}

/// `x` with its last dimension in one piece, and each row of it at a multiple of 16 bytes once it is in 16 bits.
pub(super) fn readable(x: &CubeTensor) -> CubeTensor {
    // What is rounded lies densely afterwards, at an address of its own.
    let x = match x.dtype {
        DType::F32 => dense(x),
        _ => x.clone(),
    };
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let aligned = (0..3).all(|dimension| shape[dimension] == 1 || strides[dimension].is_multiple_of(8));
    let offset = x.handle.offset_start.unwrap_or(0);
    match strides[3] == 1 && aligned && (x.dtype == DType::F32 || offset.is_multiple_of(16)) {
        true => x,
        false => contiguous(&x),
    }
}

/// Where a dimension is 1, all places read the same number.
pub(super) fn broadcast(bias: Option<&CubeTensor>, address: Option<u64>) -> Bias {
    let (Some(bias), Some(address)) = (bias, address) else {
        return Bias::default();
    };
    let (shape, strides) = (bias.meta.shape(), bias.meta.strides());
    let apart = |dimension: usize| match shape[dimension] {
        1 => 0,
        _ => strides[dimension] as i64,
    };
    Bias {
        numbers: address,
        row: apart(0),
        head: apart(1),
        query: apart(2),
        key: apart(3),
    }
}

pub(super) fn number(x: usize) -> Fallible<i32> {
    i32::try_from(x).map_err(|_| format!("{x} is more than a kernel counts"))
}
