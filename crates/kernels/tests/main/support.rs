//! Deterministic numbers, and one operation run twice: in single precision, where the fast paths are, and in double
//! precision, where the definition runs.

use burn::tensor::{DType, Device, Int, Tensor};

/// An operation under test: flat inputs to a flat result.
pub(crate) type Operation<'a> = &'a dyn Fn(Vec<Tensor<1>>) -> Tensor<1>;

/// What an operation gives: its values, and the gradient of `Σ values * probe` for each input.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) values: Vec<f64>,
    pub(crate) gradients: Vec<Vec<f64>>,
}

/// `count` numbers, roughly normal, the same for the same seed.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    // Rounded to single precision, so that both runs start from the same numbers.
    (0..count)
        .map(|_| f64::from(((0..4).map(|_| uniform()).sum::<f64>() - 2.0) as f32 * 1.7))
        .collect()
}

pub(crate) fn tensor<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType) -> Tensor<D> {
    Tensor::<1>::from_data(values, (&Device::flex(), dtype)).reshape(shape)
}

pub(crate) fn integers(values: &[usize]) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    Tensor::from_data(values.as_slice(), &Device::flex())
}

pub(crate) fn read<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// Runs an operation with all inputs tracked.
pub(crate) fn run(inputs: &[Vec<f64>], dtype: DType, operation: Operation) -> Outcome {
    let device = Device::flex().autodiff();
    let inputs: Vec<Tensor<1>> = inputs
        .iter()
        .map(|values| Tensor::from_data(values.as_slice(), (&device, dtype)).require_grad())
        .collect();
    let result = operation(inputs.clone());
    assert_eq!(result.dtype(), dtype);
    let probe = Tensor::from_data(numbers(99, result.dims()[0]).as_slice(), (&device, dtype));
    let gradients = (result.clone() * probe).sum().backward();
    Outcome {
        values: read(result.inner()),
        gradients: inputs
            .iter()
            .map(|input| read(input.grad(&gradients).expect("a gradient")))
            .collect(),
    }
}

/// Asserts that single and double precision agree, in values and gradients; that values are the same without
/// autodiff; and gives the single-precision outcome back.
pub(crate) fn agree(name: &str, inputs: &[Vec<f64>], operation: Operation) -> Outcome {
    let single = run(inputs, DType::F32, operation);
    let double = run(inputs, DType::F64, operation);
    close(&format!("{name}, values"), &single.values, &double.values, 1e-5);
    for (index, (single, double)) in single.gradients.iter().zip(&double.gradients).enumerate() {
        close(
            &format!("{name}, gradient of input {index}"),
            single,
            double,
            1e-5,
        );
    }
    let plain = inputs
        .iter()
        .map(|values| tensor(values, [values.len()], DType::F32))
        .collect();
    close(
        &format!("{name}, plain"),
        &read(operation(plain)),
        &single.values,
        1e-6,
    );
    single
}

/// Asserts that two slices differ by less than `tolerance` of the largest expected number (or of 1).
pub(crate) fn close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}: lengths");
    let size = expected
        .iter()
        .fold(1.0, |largest: f64, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * size,
            "{name}: {found} at {index}, expected {expected}, largest {size}"
        );
    }
}

/// Whether the definitions run instead of the kernels: they also round their results.
pub(crate) fn composed() -> bool {
    std::env::var("BLIP2_KERNELS").is_ok_and(|setting| setting == "composed")
}

/// Whether products in bfloat16 have rounded operands.
pub(crate) fn rounds() -> bool {
    composed() || blip2_kernels::multiplies_bf16()
}
