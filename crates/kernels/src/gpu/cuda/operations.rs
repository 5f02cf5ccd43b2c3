//! What is here as operations of burn's backend for GPUs.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::attention::{self, Scores};
use super::attention_backward::{self, Given};
use super::attention_in_slots;
use super::element_wise::{self, Factors};
use super::{as_rows, cublas, dense, layer_norm, linear, shaped, with_width};

#[backend_extension(Cube)]
pub(crate) trait OnCuda: Backend {
    fn product_alone(a: FloatTensor<Self>, b: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;

    fn product_with_bias(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dtype: DType,
    ) -> FloatTensor<Self>;

    /// The product, the bias and `added`, of whose type it is.
    fn product_added(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        added: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `x · weightᵀ` of the type of `x`, and `x` in the 16 bits of `operands`, `[rows, inputs]`.
    fn linear_alone(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// As that, plus `bias`.
    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        operands: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// `x` in the 16 bits of `operands`.
    fn rounded(x: FloatTensor<Self>, operands: DType) -> FloatTensor<Self>;

    /// The gradients of `x`, weight and bias; `x` is in 16 bits.
    fn linear_backward(
        gradient: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The first of these alone.
    fn linear_backward_of_x(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: DType,
    ) -> FloatTensor<Self>;

    /// `[batch, queries, heads, width]`, and the logarithms `[batch, heads, queries]`.
    fn attention_alone(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// As that, with `bias` on the scores.
    fn attention_with_bias(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of query, key and value, `[batch, tokens, heads, width]`.
    fn attention_backward_alone(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        result: FloatTensor<Self>,
        logarithms: FloatTensor<Self>,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// As that, where the scores had a `bias`.
    #[allow(
        clippy::too_many_arguments,
        reason = "tensors of an operation stand by themselves"
    )]
    fn attention_backward_with_bias(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        result: FloatTensor<Self>,
        logarithms: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Keys and values in slots, `[slots * heads * width]` each, with `key` and `value` `[rows, heads, tokens, width]` from slot `first` on.
    fn with_slots(
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        first: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// `[rows, 1, heads, width]`, of `query` `[rows, heads, 1, width]` to the slots, of `key_heads` each, that `table` `[rows * (1 + most)]` names.
    fn attention_in_slots(
        query: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        table: IntTensor<Self>,
        key_heads: usize,
        scale: f64,
    ) -> FloatTensor<Self>;

    /// As that, with `bias` on the scores.
    fn attention_in_slots_with_bias(
        query: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        table: IntTensor<Self>,
        bias: FloatTensor<Self>,
        key_heads: usize,
        scale: f64,
    ) -> FloatTensor<Self>;

    fn normalised(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// The gradients of `x`, weight and bias, of that of [`OnCuda::normalised`].
    fn normalised_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The first of these alone.
    fn normalised_backward_of_x(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    fn gelu_of(x: FloatTensor<Self>) -> FloatTensor<Self>;

    fn gelu_of_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The sum of squares `[1]` in double precision.
    fn squares_of(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The new parameter, first and second moment; `scale` is `[1]`.
    fn moved(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        factors: Factors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl OnCuda for CubeBackend {
    fn product_alone(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
        cublas::product(&a, &b, None, None, dtype).unwrap_or_else(|| of_burn(a, b, dtype))
    }

    fn product_with_bias(a: CubeTensor, b: CubeTensor, bias: CubeTensor, dtype: DType) -> CubeTensor {
        cublas::product(&a, &b, Some(&bias), None, dtype)
            .unwrap_or_else(|| biased(of_burn(a, b, dtype), bias))
    }

    fn product_added(a: CubeTensor, b: CubeTensor, bias: CubeTensor, added: CubeTensor) -> CubeTensor {
        let dtype = added.dtype;
        cublas::product(&a, &b, Some(&bias), Some(&added), dtype)
            .unwrap_or_else(|| Self::float_add(biased(of_burn(a, b, dtype), bias), added))
    }

    fn linear_alone(x: CubeTensor, weight: CubeTensor, operands: DType) -> (CubeTensor, CubeTensor) {
        let made = linear::forward(&x, &weight, None, operands);
        made.map_or_else(|| linear_of_burn(x, weight, None, operands), Into::into)
    }

    fn linear_with_bias(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        operands: DType,
    ) -> (CubeTensor, CubeTensor) {
        let made = linear::forward(&x, &weight, Some(&bias), operands);
        made.map_or_else(|| linear_of_burn(x, weight, Some(bias), operands), Into::into)
    }

    fn linear_backward(
        gradient: CubeTensor,
        x: CubeTensor,
        weight: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let made = linear::backward(&gradient, &x, &weight);
        made.map_or_else(
            || {
                let of_x = back_of_burn(&gradient, weight, x.dtype);
                let gradient = as_rows(&gradient);
                let rounded = cast(gradient.clone(), x.dtype);
                let of_weight = of_burn(Self::float_transpose(rounded), x, DType::F32);
                let columns = gradient.meta.shape()[1];
                let of_bias = Self::float_reshape(Self::float_sum_dim(gradient, 0), [columns].into());
                (of_x, of_weight, of_bias)
            },
            Into::into,
        )
    }

    fn linear_backward_of_x(gradient: CubeTensor, weight: CubeTensor, operands: DType) -> CubeTensor {
        let made = linear::backward_of_x(&gradient, &weight, operands);
        made.unwrap_or_else(|| back_of_burn(&gradient, weight, operands))
    }

    fn rounded(x: CubeTensor, operands: DType) -> CubeTensor {
        element_wise::rounded(&dense(&x), operands)
    }

    fn attention_alone(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        scores: Scores,
    ) -> (CubeTensor, CubeTensor) {
        attention::forward([&query, &key, &value], None, scores).into()
    }

    fn attention_with_bias(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        bias: CubeTensor,
        scores: Scores,
    ) -> (CubeTensor, CubeTensor) {
        attention::forward([&query, &key, &value], Some(bias), scores).into()
    }

    fn attention_backward_alone(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        gradient: CubeTensor,
        result: CubeTensor,
        logarithms: CubeTensor,
        scores: Scores,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let given = Given {
            result: &result,
            logarithms: &logarithms,
        };
        attention_backward::backward([&query, &key, &value, &gradient], None, &given, scores).into()
    }

    fn attention_backward_with_bias(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        gradient: CubeTensor,
        result: CubeTensor,
        logarithms: CubeTensor,
        bias: CubeTensor,
        scores: Scores,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let given = Given {
            result: &result,
            logarithms: &logarithms,
        };
        attention_backward::backward([&query, &key, &value, &gradient], Some(bias), &given, scores).into()
    }

    fn with_slots(
        keys: CubeTensor,
        values: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        first: usize,
    ) -> (CubeTensor, CubeTensor) {
        attention_in_slots::write([keys, values], [&key, &value], first).into()
    }

    fn attention_in_slots(
        query: CubeTensor,
        keys: CubeTensor,
        values: CubeTensor,
        table: CubeTensor,
        key_heads: usize,
        scale: f64,
    ) -> CubeTensor {
        attention_in_slots::attend(&query, [keys, values], table, None, key_heads, scale)
    }

    fn attention_in_slots_with_bias(
        query: CubeTensor,
        keys: CubeTensor,
        values: CubeTensor,
        table: CubeTensor,
        bias: CubeTensor,
        key_heads: usize,
        scale: f64,
    ) -> CubeTensor {
        attention_in_slots::attend(&query, [keys, values], table, Some(bias), key_heads, scale)
    }

    fn normalised(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, epsilon: f64) -> CubeTensor {
        layer_norm::forward(&x, &weight, &bias, epsilon)
    }

    fn normalised_backward(
        x: CubeTensor,
        weight: CubeTensor,
        gradient: CubeTensor,
        epsilon: f64,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        layer_norm::backward(&x, &weight, &gradient, epsilon).into()
    }

    fn normalised_backward_of_x(
        x: CubeTensor,
        weight: CubeTensor,
        gradient: CubeTensor,
        epsilon: f64,
    ) -> CubeTensor {
        layer_norm::backward_of_x(&x, &weight, &gradient, epsilon)
    }

    fn gelu_of(x: CubeTensor) -> CubeTensor {
        element_wise::gelu(&x, None)
    }

    fn gelu_of_backward(x: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        element_wise::gelu(&x, Some(&gradient))
    }

    fn squares_of(x: CubeTensor) -> CubeTensor {
        element_wise::squares(&x)
    }

    fn moved(
        parameter: CubeTensor,
        gradient: CubeTensor,
        first_moment: CubeTensor,
        second_moment: CubeTensor,
        scale: CubeTensor,
        factors: Factors,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let tensors = [&parameter, &gradient, &first_moment, &second_moment];
        element_wise::adamw(tensors, scale, factors).into()
    }
}

fn of_burn(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
    cast(CubeBackend::float_matmul(a, b), dtype)
}

fn linear_of_burn(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    operands: DType,
) -> (CubeTensor, CubeTensor) {
    let (dtype, shape) = (x.dtype, with_width(x.meta.shape(), weight.meta.shape()[0]));
    let x = cast(as_rows(&x), operands);
    let weight = CubeBackend::float_transpose(cast(weight, operands));
    let product = of_burn(x.clone(), weight, dtype);
    let y = match bias {
        Some(bias) => biased(product, bias),
        None => product,
    };
    (shaped(y, shape), x)
}

fn back_of_burn(gradient: &CubeTensor, weight: CubeTensor, operands: DType) -> CubeTensor {
    let (dtype, shape) = (
        gradient.dtype,
        with_width(gradient.meta.shape(), weight.meta.shape()[1]),
    );
    let of_x = of_burn(cast(as_rows(gradient), operands), cast(weight, operands), dtype);
    shaped(of_x, shape)
}

fn biased(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
    let bias = CubeBackend::float_reshape(bias.clone(), [1, bias.meta.shape()[0]].into());
    CubeBackend::float_add(x, bias)
}

fn cast(x: CubeTensor, dtype: DType) -> CubeTensor {
    match x.dtype == dtype {
        true => x,
        false => CubeBackend::float_cast(x, dtype.into()),
    }
}
