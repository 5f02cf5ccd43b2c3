//! Attention in one kernel.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::kernel::Kernel;
use super::{Fallible, contiguous, empty, gpu_of, held, prepared, where_is};

const WANTED: &str = "attention out of products and softmax, since there is no kernel for it";
/// Wider heads do not fit into the registers.
const WIDEST: usize = 128;
/// Keys and values of a tile, of which there are two in shared memory at a time.
const KEYS: usize = 64;
/// Queries of a warp.
const ROWS: usize = 16;
/// Of a block, at most.
const WARPS: usize = 8;

/// How scores become weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores {
    pub(crate) scale: f64,
    pub(crate) causal: bool,
}

/// As the kernel has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Operand {
    numbers: u64,
    row: i64,
    head: i64,
    token: i64,
}

/// As the kernel has it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Bias {
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
    let fits = matches!(operands, DType::BF16 | DType::F16)
        && width.is_multiple_of(8)
        && (8..=WIDEST).contains(&width)
        && heads <= u16::MAX.into()
        && batch <= u16::MAX.into();
    let number = gpu_of(query).filter(|_| fits);
    number.is_some_and(|number| prepared(number, WANTED, &kernel(width, operands)))
}

fn kernel(width: usize, operands: DType) -> Kernel {
    // Tiles of keys and values, with an odd number of 16 bytes from one row to the next.
    let apart = (width / 8 | 1) * 8;
    Kernel {
        name: "attention",
        source: include_str!("attention.cu"),
        width,
        half: operands == DType::F16,
        shared: 2 * 2 * KEYS * apart * size_of::<u16>(),
    }
}

/// `query` `[batch, heads, queries, width]`, `key` and `value` `[batch, key heads, keys, width]` in 16 bits, `bias` in single precision
/// and broadcast to `[batch, heads, queries, keys]`: to `[batch, queries, heads, width]` of type `dtype`, that of the query or single
/// precision. None where the GPU does not take it.
pub(crate) fn forward(
    [query, key, value]: [&CubeTensor; 3],
    bias: Option<&CubeTensor>,
    scores: Scores,
    dtype: DType,
) -> Option<CubeTensor> {
    where_is(query, WANTED, |gpu| {
        let shape = query.meta.shape();
        let [batch, heads, queries, width] = [shape[0], shape[1], shape[2], shape[3]];
        let [key_heads, keys] = [key.meta.shape()[1], key.meta.shape()[2]];
        let result = empty(query, [batch, queries, heads, width].into(), dtype);
        let readable = [query, key, value].map(readable);
        let [query, key, value] = [0, 1, 2].map(|which| held(&readable[which]));
        let (query, key, value, to) = (query?, key?, value?, held(&result)?);
        let bias_held = bias.map(held).transpose()?;
        let operand = |address, x: &CubeTensor| {
            let strides = x.meta.strides();
            Operand {
                numbers: address,
                row: strides[0] as i64,
                head: strides[1] as i64,
                token: strides[2] as i64,
            }
        };
        let arguments = Arguments {
            query: operand(query.0, &readable[0]),
            key: operand(key.0, &readable[1]),
            value: operand(value.0, &readable[2]),
            bias: match (bias, &bias_held) {
                (Some(bias), Some((address, _))) => broadcast(bias, *address),
                _ => Bias::default(),
            },
            result: to.0,
            heads: number(heads)?,
            heads_per_key: number(heads / key_heads)?,
            queries: number(queries)?,
            keys: number(keys)?,
            causal: scores.causal.into(),
            single: (dtype == DType::F32).into(),
            scale: scores.scale as f32,
        };
        // As many warps for each block as leave few without queries.
        let tiles = queries.div_ceil(ROWS);
        let blocks = tiles.div_ceil(WARPS);
        let kernel = kernel(width, readable[0].dtype);
        // SAFETY: the memory is held, and as large as the shapes say.
        unsafe { gpu.launch(&kernel, [blocks, heads, batch], tiles.div_ceil(blocks), &arguments) }?;
        Ok(Some(result))
    })
}

/// `x` with its last dimension in one piece, and each row of it at a multiple of 16 bytes.
fn readable(x: &CubeTensor) -> CubeTensor {
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let aligned = (0..3).all(|dimension| shape[dimension] == 1 || strides[dimension].is_multiple_of(8));
    let offset = x.handle.offset_start.unwrap_or(0);
    match strides[3] == 1 && aligned && offset.is_multiple_of(16) {
        true => x.clone(),
        false => contiguous(x),
    }
}

/// Where a dimension is 1, all places read the same number.
fn broadcast(bias: &CubeTensor, address: u64) -> Bias {
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

fn number(x: usize) -> Fallible<i32> {
    i32::try_from(x).map_err(|_| format!("{x} is more than a kernel counts"))
}
