//! The gradients of attention: two kernels, one over queries, and one over keys.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::attention::{Bias, Operand, Scores, Step, Way, broadcast, number, readable};
use super::element_wise::as_operand;
use super::{contiguous, empty, held, submit};

/// As the kernels have them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    query: Operand,
    key: Operand,
    value: Operand,
    gradient: Operand,
    bias: Bias,
    result: u64,
    logarithms: u64,
    along: u64,
    of_query: u64,
    of_key: u64,
    of_value: u64,
    heads: i32,
    queries: i32,
    keys: i32,
    causal: i32,
    single: i32,
    scale: f32,
}

// SAFETY: laid out as in C, and of numbers alone.
unsafe impl DeviceRepr for Arguments {}

/// What the forward pass gave: `[batch, queries, heads, width]`, and its logarithms.
pub(super) struct Given<'a> {
    pub(super) result: &'a CubeTensor,
    pub(super) logarithms: &'a CubeTensor,
}

/// The gradients of query, key and value, `[batch, tokens, heads, width]` each, of that of the result, `gradient` `[batch, heads, queries,
/// width]`, the last of `arguments`. Query, key and value are as in the forward pass, but with as many heads each.
pub(super) fn backward(
    arguments: [&CubeTensor; 4],
    bias: Option<CubeTensor>,
    given: &Given,
    scores: Scores,
) -> [CubeTensor; 3] {
    let [query, key, ..] = arguments;
    let shape = query.meta.shape();
    let [batch, heads, queries, width] = [shape[0], shape[1], shape[2], shape[3]];
    let (keys, dtype) = (key.meta.shape()[2], query.dtype);
    let of = |tokens: usize| empty(query, [batch, tokens, heads, width].into(), dtype);
    let gradients = [of(queries), of(keys), of(keys)];
    let arguments = arguments.map(readable);
    let [result, logarithms] = [given.result, given.logarithms].map(contiguous);
    submit(gradients, move |gpu, [of_query, of_key, of_value]| {
        gpu.in_order(|gpu| {
            let [query, key, value, gradient] = &arguments;
            let query_held = as_operand(gpu, query, scores.operands)?;
            let key_held = as_operand(gpu, key, scores.operands)?;
            let value_held = as_operand(gpu, value, scores.operands)?;
            let gradient_held = as_operand(gpu, gradient, scores.operands)?;
            let along = gpu.scratch.take(batch * heads * queries * size_of::<f32>())?;
            let (result, logarithms) = (held(&result)?, held(&logarithms)?);
            let (of_query, of_key, of_value) = (held(of_query)?, held(of_key)?, held(of_value)?);
            let bias_held = bias.as_ref().map(held).transpose()?;
            let arguments = Arguments {
                query: Operand::at(query_held.0, query),
                key: Operand::at(key_held.0, key),
                value: Operand::at(value_held.0, value),
                gradient: Operand::at(gradient_held.0, gradient),
                bias: broadcast(bias.as_ref(), bias_held.as_ref().map(|held| held.0)),
                result: result.0,
                logarithms: logarithms.0,
                along,
                of_query: of_query.0,
                of_key: of_key.0,
                of_value: of_value.0,
                heads: number(heads)?,
                queries: number(queries)?,
                keys: number(keys)?,
                causal: scores.causal.into(),
                single: (dtype == DType::F32).into(),
                scale: scores.scale as f32,
            };
            let way = Way::of(scores.operands);
            for (step, tokens) in [(Step::OfQuery, queries), (Step::OfKeys, keys)] {
                let (blocks, warps) = way.blocks_and_warps(tokens);
                let kernel = way.kernel(step, width);
                // SAFETY: the memory is held, and as large as the shapes say.
                unsafe { gpu.launch(&kernel, [blocks, heads, batch], warps, &arguments) }?;
            }
            Ok(())
        })
    })
}
