//! Attention of one more token a row to tokens that lie in slots, and the writing of slots.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::attention::{Bias, Operand, broadcast, number, readable};
use super::kernel::Kernel;
use super::{empty, gpu_of, held, prepared, submit};

const WANTED: &str = "attention of texts that are written out of copies, products and softmax, since there is no kernel for it";
/// Wider heads would take too many registers.
const WIDEST: usize = 256;
/// Of a block.
const WARPS: usize = 4;

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Written {
    key: Operand,
    value: Operand,
    keys: u64,
    values: u64,
    first: i64,
    heads: i32,
    tokens: i32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Written {}

/// As the kernel has them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    query: Operand,
    keys: u64,
    values: u64,
    table: u64,
    bias: Bias,
    result: u64,
    heads: i32,
    heads_per_key: i32,
    most: i32,
    scale: f32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Arguments {}

#[derive(Clone, Copy)]
enum Step {
    Write,
    Attend,
}

fn kernel(step: Step, width: usize, dtype: DType) -> Kernel {
    let name = match (step, dtype) {
        (Step::Write, DType::F32) => "write_slots",
        (Step::Write, _) => "write_slots_16",
        (Step::Attend, DType::F32) => "attention_in_slots",
        (Step::Attend, _) => "attention_in_slots_16",
    };
    Kernel {
        name,
        source: include_str!("attention_in_slots.cu"),
        width,
        half: dtype == DType::F16,
        // What each warp found: a largest power, a sum of powers, and a token.
        shared: WARPS * (2 + width) * size_of::<f32>(),
    }
}

/// Whether there are kernels for keys as `key` `[rows, heads, tokens, width]`, which is not on a graph.
pub(crate) fn serves(key: &Tensor<4>) -> bool {
    let [.., width] = key.dims();
    let fits = (1..=WIDEST).contains(&width) && matches!(key.dtype(), DType::F32 | DType::BF16 | DType::F16);
    let there = |device, step| prepared(device, WANTED, &kernel(step, width, key.dtype()));
    let device = gpu_of(key).filter(|_| fits);
    device.is_some_and(|device| there(device, Step::Write) && there(device, Step::Attend))
}

/// `slots`, keys and values `[slots * heads * width]`, with `written`, keys and values `[rows, heads, tokens, width]`, row by row from slot
/// `first` on: in the same memory. What was asked for before reads them as they were; nobody may hold them to read them later.
pub(super) fn write(slots: [CubeTensor; 2], written: [&CubeTensor; 2], first: usize) -> [CubeTensor; 2] {
    let shape = written[0].meta.shape();
    let [rows, heads, tokens, width] = [shape[0], shape[1], shape[2], shape[3]];
    let written = written.map(readable);
    submit(slots, move |gpu, slots| {
        let [key, value] = &written;
        let (from_key, from_value) = (held(key)?, held(value)?);
        let (keys, values) = (held(&slots[0])?, held(&slots[1])?);
        let arguments = Written {
            key: Operand::at(from_key.0, key),
            value: Operand::at(from_value.0, value),
            keys: keys.0,
            values: values.0,
            first: first as i64,
            heads: number(heads)?,
            tokens: number(tokens)?,
        };
        let kernel = kernel(Step::Write, width, slots[0].dtype);
        // SAFETY: the memory is held, and as large as the shapes say; the caller has so many slots.
        unsafe { gpu.launch(&kernel, [tokens, rows, 1], WARPS, &arguments) }
    })
}

/// `query` `[rows, heads, 1, width]` to the `slots`, keys and values `[slots * key heads * width]`, that `table` `[rows * (1 + most)]`
/// names: of each row how many, and which. `bias` is in single precision and broadcasts to `[rows, heads, 1, most]`; the result is `[rows, 1, heads,
/// width]`.
pub(super) fn attend(
    query: &CubeTensor,
    slots: [CubeTensor; 2],
    table: CubeTensor,
    bias: Option<CubeTensor>,
    key_heads: usize,
    scale: f64,
) -> CubeTensor {
    let (shape, dtype) = (query.meta.shape(), query.dtype);
    let [rows, heads, width] = [shape[0], shape[1], shape[3]];
    let result = empty(query, [rows, 1, heads, width].into(), dtype);
    let (query, most) = (readable(query), table.meta.num_elements() / rows - 1);
    let [result] = submit([result], move |gpu, [result]| {
        let (from, keys, values) = (held(&query)?, held(&slots[0])?, held(&slots[1])?);
        let (where_they_are, to) = (held(&table)?, held(result)?);
        let bias_held = bias.as_ref().map(held).transpose()?;
        let arguments = Arguments {
            query: Operand::at(from.0, &query),
            keys: keys.0,
            values: values.0,
            table: where_they_are.0,
            bias: broadcast(bias.as_ref(), bias_held.as_ref().map(|held| held.0)),
            result: to.0,
            heads: number(heads)?,
            heads_per_key: number(heads / key_heads)?,
            most: number(most)?,
            scale: scale as f32,
        };
        let kernel = kernel(Step::Attend, width, dtype);
        // SAFETY: the memory is held, and as large as the shapes say; the table names slots that are there.
        unsafe { gpu.launch(&kernel, [heads, rows, 1], WARPS, &arguments) }
    });
    result
}
