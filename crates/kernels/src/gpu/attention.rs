//! Attention: one kernel where no gradient is asked for, ours on NVIDIA's GPUs and burn's on others, and where one is, a backward pass
//! that makes the weights again, some queries at a time.

use burn::backend::tensor::FloatTensor;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Tensor, module};

use super::{Kept, Place, like, node, plain, primitive, tracked};
use crate::composed;
use crate::flex::attention::Rules;
use crate::products::Products;

/// Queries whose weights are made together in the backward pass.
const QUERIES: usize = 128;

pub(crate) fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    rules: Rules,
) -> Tensor<4> {
    let tracks = [&query, &key, &value].iter().any(|x| x.is_tracked());
    let bias = bias.map(plain);
    #[cfg(feature = "cuda")]
    if super::cuda_attention::serves(&query, [&key, &value], &rules) {
        return super::cuda_attention::attention([query, key, value], bias, rules);
    }
    if !tracks {
        let devices = [query.device(), key.device(), value.device()];
        let result = forward(plain(query), plain(key), plain(value), bias, &rules);
        return like(result, devices.each_ref());
    }
    let kept = Attention {
        query: plain(query.clone()),
        key: plain(key.clone()),
        value: plain(value.clone()),
        bias,
        rules,
    };
    let result = kept.clone().forward();
    let parents = [query, key, value].map(|x| tracked(x).into_parts().1);
    node(parents, kept, result)
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

/// One kernel where there is one that computes what is asked for, else the definition.
fn forward(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    rules: &Rules,
) -> Tensor<4> {
    #[cfg(feature = "cuda")]
    if super::cuda::on_cuda(&query) {
        return composed::attention(query, key, value, bias, rules);
    }
    let [_, heads, queries, width] = query.dims();
    let usual_scale = (rules.scale * (width as f64).sqrt() - 1.0).abs() < 1e-9;
    // Where the last query stands is not the same in all fused kernels.
    let fits = bias.is_none() && usual_scale && (!rules.causal || queries == key.dims()[2]);
    if !fits {
        return composed::attention(query, key, value, bias, rules);
    }
    let dtype = query.dtype();
    let half = rules.products == Products::Bf16 && query.device().supports_dtype(DType::BF16);
    let operand = |x: Tensor<4>| match half {
        true => x.cast(DType::BF16),
        false => x,
    };
    let [key, value] = [key, value].map(|x| operand(composed::spread(x, heads, rules)));
    let options = AttentionModuleOptions {
        is_causal: rules.causal,
        ..AttentionModuleOptions::default()
    };
    module::attention(operand(query), key, value, None, None, options).cast(dtype)
}

impl Attention {
    fn forward(self) -> Tensor<4> {
        forward(self.query, self.key, self.value, self.bias, &self.rules)
    }

    /// The part of the bias that belongs to some queries.
    fn bias(&self, first: usize, count: usize) -> Option<Tensor<4>> {
        let bias = self.bias.clone()?;
        Some(match bias.dims()[2] {
            1 => bias,
            _ => bias.narrow(2, first, count),
        })
    }
}

impl Kept<3> for Attention {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        let gradient = Tensor::<4>::from_primitive::<Place>(gradient);
        let ([_, heads, queries, _], products) = (self.query.dims(), self.rules.products);
        let [rows, key_heads, _, _] = self.key.dims();
        let [key, value] = [&self.key, &self.value].map(|x| composed::spread(x.clone(), heads, &self.rules));
        let (mut of_key, mut of_value) = (None, None);
        let mut of_query = Vec::new();
        for first in (0..queries).step_by(QUERIES) {
            let count = QUERIES.min(queries - first);
            let part_of = |x: &Tensor<4>| match count == queries {
                true => x.clone(),
                false => x.clone().narrow(2, first, count),
            };
            let [query, gradient] = [&self.query, &gradient].map(part_of);
            let bias = self.bias(first, count);
            let part = first..first + count;
            let weights = composed::weights(query.clone(), &key, bias, part, queries, &self.rules);
            let matmul = |a: Tensor<4>, b: Tensor<4>| composed::matmul(a, b, products);
            add(
                &mut of_value,
                matmul(weights.clone().swap_dims(2, 3), gradient.clone()),
            );
            let of_weights = matmul(gradient, value.clone().swap_dims(2, 3));
            let mean = (weights.clone() * of_weights.clone()).sum_dim(3);
            let of_scores = (weights * (of_weights - mean)).mul_scalar(self.rules.scale);
            add(&mut of_key, matmul(of_scores.clone().swap_dims(2, 3), query));
            of_query.push(matmul(of_scores, key.clone()));
        }
        let [of_key, of_value] = [of_key, of_value].map(|x| {
            let x = x.expect("there is a query");
            primitive(composed::gathered(x, [rows, key_heads], &self.rules))
        });
        [
            Some(primitive(Tensor::cat(of_query, 2))),
            Some(of_key),
            Some(of_value),
        ]
    }
}

fn add(sum: &mut Option<Tensor<4>>, more: Tensor<4>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + more,
        None => more,
    });
}
