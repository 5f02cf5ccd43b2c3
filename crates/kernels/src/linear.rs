//! The linear layer: matrix product and bias.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::composed;
use crate::extension::{Kernels, facts, maybe, takes};
use crate::products::products;

/// `y = x · weightᵀ + bias`.
///
/// `x` is `[.., in]`, `weight` `[out, in]` as PyTorch stores it, `bias` `[out]`; the result is `[.., out]`.
/// A weight that is not tracked costs no weight gradient. The products are as precise as
/// [`with_products`](crate::with_products) says.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [out_width, in_width] = weight.dims();
    assert_eq!(
        x.dims()[D - 1],
        in_width,
        "linear: the last dimension of x {:?} must be that of weight [{out_width}, {in_width}]",
        x.dims()
    );
    if let Some(bias) = &bias {
        assert_eq!(
            bias.dims(),
            [out_width],
            "linear: bias must have one number for each row of weight"
        );
    }
    let kernel =
        takes(&[facts(&x), facts(&weight)]) && bias.as_ref().is_none_or(|bias| takes(&[facts(bias)]));
    if !kernel {
        #[cfg(feature = "gpu")]
        if crate::gpu::takes(&x) && crate::gpu::takes(&weight) {
            return crate::gpu::linear::linear(x, weight, bias, products());
        }
        return composed::linear(x, weight, bias, products());
    }
    Tensor::from_dispatch(Dispatch::linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        maybe(bias),
        products(),
    ))
}

/// `residual + x · weightᵀ + bias`, the end of each half of a pre-norm block: `residual` and the result are `[.., out]`, of the type of
/// `residual`; all else as in [`linear`]. One pass over memory on NVIDIA's GPUs where no gradient is asked for.
pub fn add_linear<const D: usize>(
    residual: Tensor<D>,
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    #[cfg(feature = "cuda")]
    if let Some(bias) = &bias
        && crate::gpu::linear::adds([&residual, &x], &weight, bias)
    {
        return crate::gpu::linear::add_linear(residual, x, weight, bias.clone(), products());
    }
    let dtype = residual.dtype();
    residual + linear(x, weight, bias).cast(dtype)
}
