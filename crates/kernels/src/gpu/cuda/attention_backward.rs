//! The gradients of attention: two kernels, one over queries, and one over keys.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::DeviceRepr;

use super::attention::{Bias, Operand, Rounded, Scores, Step, WANTED, Way, broadcast, number, readable};
use super::{contiguous, empty, held, where_is};

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
/// width]`, the last of `arguments`. Query, key and value are as in the forward pass, but with as many heads each. None where the GPU
/// does not take it.
pub(super) fn backward(
    arguments: [&CubeTensor; 4],
    bias: Option<&CubeTensor>,
    given: &Given,
    scores: Scores,
) -> Option<[CubeTensor; 3]> {
    let operands = scores.operands;
    let [query, key, ..] = arguments;
    where_is(query, WANTED, |gpu| {
        let shape = query.meta.shape();
        let [batch, heads, queries, width] = [shape[0], shape[1], shape[2], shape[3]];
        let (keys, dtype) = (key.meta.shape()[2], query.dtype);
        let of = |tokens: usize| empty(query, [batch, tokens, heads, width].into(), dtype);
        let gradients = [of(queries), of(keys), of(keys)];
        let along = empty(query, [batch, heads, queries].into(), DType::F32);
        let arguments = arguments.map(readable);
        let [result, logarithms] = [given.result, given.logarithms].map(contiguous);
        gpu.in_order(|gpu| {
            let [query, key, value, gradient] = Rounded::all(gpu, &arguments, operands)?;
            let (result, logarithms, along) = (held(&result)?, held(&logarithms)?, held(&along)?);
            let [of_query, of_key, of_value] = &gradients;
            let (of_query, of_key, of_value) = (held(of_query)?, held(of_key)?, held(of_value)?);
            let bias_held = bias.map(held).transpose()?;
            let arguments = Arguments {
                query: query.operand(),
                key: key.operand(),
                value: value.operand(),
                gradient: gradient.operand(),
                bias: broadcast(bias, bias_held.as_ref().map(|held| held.0)),
                result: result.0,
                logarithms: logarithms.0,
                along: along.0,
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
            let way = Way::of(operands);
            for (step, tokens) in [(Step::OfQuery, queries), (Step::OfKeys, keys)] {
                let (blocks, warps) = way.blocks_and_warps(tokens);
                let kernel = way.kernel(step, width);
                // SAFETY: the memory is held, and as large as the shapes say.
                unsafe { gpu.launch(&kernel, [blocks, heads, batch], warps, &arguments) }?;
            }
            Ok(())
        })?;
        Ok(Some(gradients))
    })
}
