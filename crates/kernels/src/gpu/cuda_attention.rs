//! Attention on NVIDIA's GPUs: a kernel, and two for the gradients, which make the weights again out of the logarithms of their sums.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};

use super::cuda::attention::{Scores, serves as has_kernels};
use super::cuda::operations::OnCuda;
use super::products::operands;
use super::{Kept, Place, like, node, off, primitive, tracked};
use crate::composed;
use crate::flex::attention::Rules;

/// Whether there are kernels for heads as those of `query` `[batch, heads, queries, width]`, and something to do for them.
pub(crate) fn serves(query: &Tensor<4>, [key, value]: [&Tensor<4>; 2], rules: &Rules) -> bool {
    let empty = query.dims().contains(&0) || key.dims().contains(&0);
    let query = off(query);
    let operands = operands(&query, rules.products);
    let types = [query.dtype(), key.dtype(), value.dtype()];
    let rounds = types
        .into_iter()
        .all(|dtype| dtype == DType::F32 || dtype == operands);
    !empty && rounds && has_kernels(&query, operands)
}

/// As [`crate::attention`].
pub(crate) fn attention(
    [query, key, value]: [Tensor<4>; 3],
    bias: Option<Tensor<4>>,
    rules: Rules,
) -> Tensor<4> {
    let tracks = [&query, &key, &value].iter().any(|x| x.is_tracked());
    let devices = [query.device(), key.device(), value.device()];
    let kept = Attention {
        query: off(&query),
        key: off(&key),
        value: off(&value),
        bias: bias.map(|bias| off(&bias).cast(DType::F32)),
        rules,
    };
    let [result, logarithms] = kept.forward();
    let heads_first = result.clone().swap_dims(1, 2);
    if !tracks {
        return like(heads_first, devices.each_ref());
    }
    let kept = WithResult {
        of: kept,
        result,
        logarithms: logarithms.reshape([-1]),
    };
    let parents = [query, key, value].map(|x| tracked(x).into_parts().1);
    node(parents, kept, heads_first)
}

/// All of them off the graph.
#[derive(Clone, Debug)]
struct Attention {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    rules: Rules,
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct WithResult {
    of: Attention,
    /// `[batch, queries, heads, width]`.
    result: Tensor<4>,
    /// `[batch * heads * queries]`.
    logarithms: Tensor<1>,
}

impl Attention {
    fn scores(&self) -> Scores {
        Scores {
            scale: self.rules.scale,
            causal: self.rules.causal,
            operands: operands(&self.query, self.rules.products),
        }
    }

    /// `[batch, queries, heads, width]`, and the logarithms.
    fn forward(&self) -> [Tensor<4>; 2] {
        let read = |x: &Tensor<4>| composed::rows_read(x.clone(), &self.rules).into_dispatch();
        let query = self.query.clone().into_dispatch();
        let (key, value, scores) = (read(&self.key), read(&self.value), self.scores());
        let (result, logarithms) = match self.bias.clone() {
            Some(bias) => Dispatch::attention_with_bias(query, key, value, bias.into_dispatch(), scores),
            None => Dispatch::attention_alone(query, key, value, scores),
        };
        let logarithms = Tensor::<3>::from_dispatch(logarithms);
        [Tensor::from_dispatch(result), logarithms.unsqueeze::<4>()]
    }
}

impl Kept<3> for WithResult {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        let Self {
            of,
            result,
            logarithms,
        } = self;
        let gradient = Tensor::<4>::from_primitive::<Place>(gradient);
        let ([_, heads, _, _], [rows, key_heads, _, _]) = (of.query.dims(), of.key.dims());
        let (scores, rules) = (of.scores(), of.rules);
        let [key, value] = [of.key, of.value].map(|x| composed::spread(x, heads, &rules).into_dispatch());
        let [query, gradient, result] = [of.query, gradient, result].map(Tensor::into_dispatch);
        let logarithms = logarithms.into_dispatch();
        let (of_query, of_key, of_value) = match of.bias {
            Some(bias) => Dispatch::attention_backward_with_bias(
                query,
                key,
                value,
                gradient,
                result,
                logarithms,
                bias.into_dispatch(),
                scores,
            ),
            None => {
                Dispatch::attention_backward_alone(query, key, value, gradient, result, logarithms, scores)
            }
        };
        let heads_first = |x| Tensor::<4>::from_dispatch(x).swap_dims(1, 2);
        let of_query = primitive(heads_first(of_query));
        let [of_key, of_value] = [of_key, of_value].map(|x| {
            let read = heads_first(x);
            primitive(composed::gathered(read, [rows, key_heads], &rules))
        });
        [Some(of_query), Some(of_key), Some(of_value)]
    }
}
