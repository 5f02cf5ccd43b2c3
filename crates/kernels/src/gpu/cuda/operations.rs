//! What is here as operations of their own, which burn's joining of kernels leaves where they stand.

use burn::backend::ops::FloatTensorOps;
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::{Backend, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::attention::{self, Scores};
use super::{cublas, element_wise, layer_norm};
use crate::AdamWStep;

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

    /// `[batch, queries, heads, width]`.
    #[fusion(dtype = *dtype, shape = tokens_first(query))]
    fn attention_alone(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        scores: Scores,
        dtype: DType,
    ) -> FloatTensor<Self>;

    /// `[batch, queries, heads, width]`.
    #[fusion(dtype = *dtype, shape = tokens_first(query))]
    fn attention_with_bias(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scores: Scores,
        dtype: DType,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn normalised(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// The gradients of `x`, and of weight and bias as sums over some rows each, `[sums, width]`, of that of [`OnCuda::normalised`].
    #[fusion(meta = |x, _, _, _| (x.clone(), parameter_sums(x), parameter_sums(x)))]
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

    /// The new parameter, first and second moment; `scale` is `[1]`.
    #[fusion(meta = |parameter, _, _, _, _, _| (parameter.clone(), parameter.clone(), parameter.clone()))]
    fn moved(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

fn parameter_sums(x: &TensorSpec) -> TensorSpec {
    let width = x.shape[x.shape.num_dims() - 1];
    TensorSpec::new([layer_norm::sums(&x.shape), width].into(), DType::F32)
}

fn of_product(a: &Shape, b: &Shape) -> Shape {
    let mut shape = a.clone();
    let last = shape.num_dims() - 1;
    shape[last] = b[last];
    shape
}

fn tokens_first(query: &Shape) -> Shape {
    [query[0], query[2], query[1], query[3]].into()
}

impl OnCuda for CubeBackend {
    fn product_alone(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
        cublas::product(&a, &b, None, None, dtype).unwrap_or_else(|| of_burn(a, b, dtype))
    }

    fn product_with_bias(a: CubeTensor, b: CubeTensor, bias: CubeTensor, dtype: DType) -> CubeTensor {
        cublas::product(&a, &b, Some(&bias), None, dtype).unwrap_or_else(|| biased(of_burn(a, b, dtype), bias))
    }

    fn product_added(a: CubeTensor, b: CubeTensor, bias: CubeTensor, added: CubeTensor) -> CubeTensor {
        let dtype = added.dtype;
        cublas::product(&a, &b, Some(&bias), Some(&added), dtype)
            .unwrap_or_else(|| Self::float_add(biased(of_burn(a, b, dtype), bias), added))
    }

    fn attention_alone(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        scores: Scores,
        dtype: DType,
    ) -> CubeTensor {
        prepared(attention::forward([&query, &key, &value], None, scores, dtype))
    }

    fn attention_with_bias(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        bias: CubeTensor,
        scores: Scores,
        dtype: DType,
    ) -> CubeTensor {
        prepared(attention::forward([&query, &key, &value], Some(&bias), scores, dtype))
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

    fn moved(
        parameter: CubeTensor,
        gradient: CubeTensor,
        first_moment: CubeTensor,
        second_moment: CubeTensor,
        scale: CubeTensor,
        step: AdamWStep,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let tensors = [&parameter, &gradient, &first_moment, &second_moment];
        prepared(element_wise::adamw(tensors, &scale, &step)).into()
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
