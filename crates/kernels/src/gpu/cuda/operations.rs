//! What is here as operations of their own, which burn's joining of kernels leaves where they stand.

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Backend, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::attention::{self, Scores};
use super::attention_backward::{self, Given};
use super::element_wise::{self, Factors};
use super::{as_rows, cublas, layer_norm, linear, shaped, with_width};

#[backend_extension(Cube, Fusion)]
pub(crate) trait OnCuda: Backend {
    #[fusion(dtype = *dtype, shape = of_product(a, b))]
    fn product_alone(a: FloatTensor<Self>, b: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;

    #[fusion(dtype = *dtype, shape = of_product(a, b))]
    fn product_with_bias(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dtype: DType,
    ) -> FloatTensor<Self>;

    /// The product, the bias and `added`, of whose type it is.
    #[fusion(dtype = added, shape = of_product(a, b))]
    fn product_added(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        added: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `x · weightᵀ` of the type of `x`, and `x` in the 16 bits of `operands`, `[rows, inputs]`.
    #[fusion(meta = |x, weight, operands| (outputs(x, weight), rounded_rows(x, *operands)))]
    fn linear_alone(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// As that, plus `bias`.
    #[fusion(meta = |x, weight, _, operands| (outputs(x, weight), rounded_rows(x, *operands)))]
    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        operands: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `x`, weight and bias; `x` is in 16 bits.
    #[fusion(meta = |gradient, _, weight| (inputs(gradient, weight), single(weight), width_of(gradient)))]
    fn linear_backward(
        gradient: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The first of these alone.
    #[fusion(dtype = gradient, shape = with_width(gradient, weight[1]))]
    fn linear_backward_of_x(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: DType,
    ) -> FloatTensor<Self>;

    /// `[batch, queries, heads, width]`, and the logarithms `[batch, heads, queries]`.
    #[fusion(meta = |query, _, _, _| (tokens_first(query), logarithms(query)))]
    fn attention_alone(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// As that, with `bias` on the scores.
    #[fusion(meta = |query, _, _, _, _| (tokens_first(query), logarithms(query)))]
    fn attention_with_bias(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of query, key and value, `[batch, tokens, heads, width]`.
    #[fusion(meta = |query, key, value, _, _, _, _| (tokens_first(query), tokens_first(key), tokens_first(value)))]
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
    #[fusion(meta = |query, key, value, _, _, _, _, _| (tokens_first(query), tokens_first(key), tokens_first(value)))]
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

    #[fusion(dtype = x, shape = x)]
    fn normalised(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// The gradients of `x`, weight and bias, of that of [`OnCuda::normalised`].
    #[fusion(meta = |x, _, _, _| (x.clone(), width_of(x), width_of(x)))]
    fn normalised_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The first of these alone.
    #[fusion(dtype = x, shape = x)]
    fn normalised_backward_of_x(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn gelu_of(x: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn gelu_of_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The sum of squares `[1]` in double precision.
    #[fusion(meta = |_| TensorSpec::new([1].into(), DType::F64))]
    fn squares_of(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The new parameter, first and second moment; `scale` is `[1]`.
    #[fusion(meta = |parameter, _, _, _, _, _| (parameter.clone(), parameter.clone(), parameter.clone()))]
    fn moved(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        factors: Factors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// A vector of the width of `x`, in single precision.
fn width_of(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new([x.shape[x.shape.num_dims() - 1]].into(), DType::F32)
}

fn single(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new(x.shape.clone(), DType::F32)
}

fn rounded_rows(x: &TensorSpec, operands: DType) -> TensorSpec {
    let width = x.shape[x.shape.num_dims() - 1];
    TensorSpec::new([x.shape.num_elements() / width, width].into(), operands)
}

fn outputs(x: &TensorSpec, weight: &TensorSpec) -> TensorSpec {
    TensorSpec::new(with_width(&x.shape, weight.shape[0]), x.dtype)
}

fn inputs(gradient: &TensorSpec, weight: &TensorSpec) -> TensorSpec {
    TensorSpec::new(with_width(&gradient.shape, weight.shape[1]), DType::F32)
}

fn tokens_first(x: &TensorSpec) -> TensorSpec {
    let shape = &x.shape;
    TensorSpec::new([shape[0], shape[2], shape[1], shape[3]].into(), x.dtype)
}

fn logarithms(query: &TensorSpec) -> TensorSpec {
    let shape = &query.shape;
    TensorSpec::new([shape[0], shape[1], shape[2]].into(), DType::F32)
}

fn of_product(a: &Shape, b: &Shape) -> Shape {
    with_width(a, b[b.num_dims() - 1])
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

    fn attention_alone(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        scores: Scores,
    ) -> (CubeTensor, CubeTensor) {
        prepared(attention::forward([&query, &key, &value], None, scores)).into()
    }

    fn attention_with_bias(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        bias: CubeTensor,
        scores: Scores,
    ) -> (CubeTensor, CubeTensor) {
        prepared(attention::forward([&query, &key, &value], Some(&bias), scores)).into()
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
        let arguments = [&query, &key, &value, &gradient];
        prepared(attention_backward::backward(arguments, None, &given, scores)).into()
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
        let arguments = [&query, &key, &value, &gradient];
        prepared(attention_backward::backward(
            arguments,
            Some(&bias),
            &given,
            scores,
        ))
        .into()
    }

    fn normalised(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, epsilon: f64) -> CubeTensor {
        prepared(layer_norm::forward(&x, &weight, &bias, epsilon))
    }

    fn normalised_backward(
        x: CubeTensor,
        weight: CubeTensor,
        gradient: CubeTensor,
        epsilon: f64,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        prepared(layer_norm::backward(&x, &weight, &gradient, epsilon)).into()
    }

    fn normalised_backward_of_x(
        x: CubeTensor,
        weight: CubeTensor,
        gradient: CubeTensor,
        epsilon: f64,
    ) -> CubeTensor {
        prepared(layer_norm::backward_of_x(&x, &weight, &gradient, epsilon))
    }

    fn gelu_of(x: CubeTensor) -> CubeTensor {
        prepared(element_wise::gelu(&x, None))
    }

    fn gelu_of_backward(x: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        prepared(element_wise::gelu(&x, Some(&gradient)))
    }

    fn squares_of(x: CubeTensor) -> CubeTensor {
        prepared(element_wise::squares(&x))
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
        prepared(element_wise::adamw(tensors, &scale, factors)).into()
    }
}

/// What a kernel made that was compiled before it was asked for. As burn's kernels, it fails only where the GPU itself does: out of
/// memory, or lost.
fn prepared<T>(made: Option<T>) -> T {
    made.expect("the GPU takes a kernel that was compiled for it")
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
