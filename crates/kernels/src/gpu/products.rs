//! Products of two matrices on GPUs: NVIDIA's by their own library, the others by burn.

#[cfg(feature = "cuda")]
use burn::backend::{Backend, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

use crate::products::Products;

/// What `x` is rounded to where it is multiplied.
pub(crate) fn operands<const D: usize>(x: &Tensor<D>, products: Products) -> DType {
    match products {
        Products::Bf16 if x.device().supports_dtype(DType::BF16) => DType::BF16,
        Products::F32 | Products::Bf16 => x.dtype(),
    }
}

/// The product of `a` `[m, k]` and `b` `[k, n]`, plus `bias` `[n]`, as numbers of the type `dtype`. None of them is on a graph.
pub(crate) fn product(
    a: Tensor<2>,
    b: Tensor<2>,
    bias: Option<Tensor<1>>,
    products: Products,
    dtype: DType,
) -> Tensor<2> {
    #[cfg(feature = "cuda")]
    if on_cuda(&a) {
        return of_library(a, b, bias, products, dtype);
    }
    let operands = operands(&a, products);
    let product = a.cast(operands).matmul(b.cast(operands)).cast(dtype);
    match bias {
        Some(bias) => product + bias.cast(dtype).unsqueeze(),
        None => product,
    }
}

/// Whether `x`, which is not on a graph, is on one of NVIDIA's GPUs.
#[cfg(feature = "cuda")]
pub(crate) fn on_cuda<const D: usize>(x: &Tensor<D>) -> bool {
    use burn::backend::DispatchDevice;
    use burn_cubecl::CubeDevice;

    let cuda = matches!(
        x.device().as_dispatch(),
        DispatchDevice::Cube(CubeDevice::Cuda(_))
    );
    cuda && super::takes(x)
}

/// As [`product`], of as many matrices `[.., m, k]` and `[.., k, n]`.
#[cfg(feature = "cuda")]
pub(crate) fn of_library<const D: usize>(
    a: Tensor<D>,
    b: Tensor<D>,
    bias: Option<Tensor<1>>,
    products: Products,
    dtype: DType,
) -> Tensor<D> {
    use burn::backend::Dispatch;

    let operands = operands(&a, products);
    let [a, b] = [a, b].map(|x| x.cast(operands).into_dispatch());
    let bias = bias.map(|bias| bias.cast(dtype));
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::product_with_bias(a, b, bias.into_dispatch(), dtype),
        None => Dispatch::product_alone(a, b, dtype),
    })
}

#[cfg(feature = "cuda")]
fn shape_of(a: &burn::tensor::Shape, b: &burn::tensor::Shape) -> burn::tensor::Shape {
    let mut shape = a.clone();
    let last = shape.num_dims() - 1;
    shape[last] = b[last];
    shape
}

/// As operations of their own, which burn's joining of kernels leaves where they stand.
#[cfg(feature = "cuda")]
#[backend_extension(Cube, Fusion)]
pub(crate) trait Multiply: Backend {
    #[fusion(dtype = *dtype, shape = shape_of(a, b))]
    fn product_alone(a: FloatTensor<Self>, b: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;

    #[fusion(dtype = *dtype, shape = shape_of(a, b))]
    fn product_with_bias(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dtype: DType,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cuda")]
mod on_cubes {
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::DType;
    use burn_cubecl::CubeBackend;
    use burn_cubecl::tensor::CubeTensor;

    use super::Multiply;
    use crate::gpu::cublas;

    impl Multiply for CubeBackend {
        fn product_alone(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
            cublas::product(&a, &b, None, dtype).unwrap_or_else(|| of_burn(a, b, dtype))
        }

        fn product_with_bias(a: CubeTensor, b: CubeTensor, bias: CubeTensor, dtype: DType) -> CubeTensor {
            cublas::product(&a, &b, Some(&bias), dtype).unwrap_or_else(|| {
                let bias = Self::float_reshape(bias.clone(), [1, bias.meta.shape()[0]].into());
                Self::float_add(of_burn(a, b, dtype), bias)
            })
        }
    }

    fn of_burn(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
        let product = CubeBackend::float_matmul(a, b);
        match product.dtype == dtype {
            true => product,
            false => CubeBackend::float_cast(product, dtype.into()),
        }
    }
}
