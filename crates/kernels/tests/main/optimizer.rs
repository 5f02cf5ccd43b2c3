use blip2_kernels::{AdamWStep, GradientNorm, Scalar, adamw, sum_of_squares};
use burn::tensor::{DType, Tensor};

use crate::support::{close, composed, numbers, read, tensor};

/// Factor on the gradients of the definition's test.
const SCALE: f64 = 0.7;

/// `torch.optim.AdamW` in scalars, as its documentation states it.
fn reference(parameter: &mut [f64; 3], gradient: f64, step: &AdamWStep) {
    let [value, first, second] = parameter;
    let gradient = gradient * SCALE;
    *value -= step.learning_rate * step.weight_decay * *value;
    *first = step.beta1 * *first + (1.0 - step.beta1) * gradient;
    *second = step.beta2 * *second + (1.0 - step.beta2) * gradient * gradient;
    let first = *first / (1.0 - step.beta1.powf(step.step as f64));
    let second = *second / (1.0 - step.beta2.powf(step.step as f64));
    *value -= step.learning_rate * first / (second.sqrt() + step.epsilon);
}

#[test]
fn adamw_follows_its_definition() {
    for count in [1, 17, 100, 70_003] {
        let mut expected: Vec<[f64; 3]> = numbers(1, count).iter().map(|&value| [value, 0.0, 0.0]).collect();
        let zeros = vec![0.0; count];
        let mut state =
            [numbers(1, count), zeros.clone(), zeros].map(|values| tensor(&values, [1, count], DType::F32));
        for number in 1..=4 {
            let step = AdamWStep {
                learning_rate: 1e-2 / number as f64,
                beta1: 0.9,
                beta2: 0.98,
                epsilon: 1e-8,
                weight_decay: 0.05,
                step: number,
                gradient_scale: SCALE.into(),
            };
            let gradient = numbers(10 + number, count);
            for (parameter, gradient) in expected.iter_mut().zip(&gradient) {
                reference(parameter, *gradient, &step);
            }
            let [parameter, first, second] = state;
            let gradient = tensor(&gradient, [1, count], DType::F32);
            state = adamw(parameter, gradient, first, second, &step).into();
        }
        for (index, (found, name)) in state
            .into_iter()
            .zip(["parameter", "first", "second"])
            .enumerate()
        {
            let expected: Vec<f64> = expected.iter().map(|parameter| parameter[index]).collect();
            close(name, &read(found), &expected, 2e-6);
        }
    }
}

#[test]
fn adamw_leaves_shared_tensors_alone() {
    let shared: Tensor<1> = tensor(&[1.0, 2.0], [2], DType::F32);
    let step = AdamWStep {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step: 1,
        gradient_scale: 1.0.into(),
    };
    let (moved, _, _) = adamw(
        shared.clone(),
        shared.clone(),
        shared.zeros_like(),
        shared.zeros_like(),
        &step,
    );
    close("moved", &read(moved), &[0.9, 1.9], 1e-6);
    assert_eq!(read(shared), [1.0, 2.0]);
}

#[test]
fn sum_of_squares_adds_in_double_precision() {
    let count = 3_000_001;
    let x: Tensor<1> = Tensor::full([count], 1e-3, &burn::tensor::Device::flex());
    let expected = f64::from(1e-3f32).powi(2) * count as f64;
    assert!((sum_of_squares(&x) / expected - 1.0).abs() < 1e-6);
    let x = numbers(1, 1003);
    let expected: f64 = x.iter().map(|x| x * x).sum();
    let found = sum_of_squares(&tensor(&x, [17, 59], DType::F32).swap_dims(0, 1));
    assert!((found / expected - 1.0).abs() < 1e-6);
}

/// The norm over two tensors, and what it makes of a limit, where a kernel knows it at once (single precision) and where it
/// stays a tensor (double).
fn norm_of(values: [&[f64]; 2], dtype: DType) -> GradientNorm {
    let mut norm = GradientNorm::default();
    for values in values {
        norm.add(&tensor(values, [values.len()], dtype));
    }
    norm
}

fn number(scalar: Scalar) -> f64 {
    match scalar {
        Scalar::Known(number) => number,
        Scalar::OnDevice(tensor) => tensor.into_scalar(),
    }
}

#[test]
fn the_norm_is_the_same_on_the_device_and_at_once() {
    for dtype in [DType::F32, DType::F64] {
        let norm = norm_of([&[3.0, 0.0], &[4.0]], dtype);
        assert_eq!(norm.read(), 5.0, "{dtype:?}");
        let at_once = dtype == DType::F32 && !composed();
        assert_eq!(matches!(norm.value(), Scalar::Known(_)), at_once);
        for (limit, expected) in [(None, 1.0), (Some(2.0), 0.4), (Some(7.0), 1.0)] {
            let scale = number(norm.clip(limit));
            assert!((scale - expected).abs() < 1e-6, "{dtype:?} {limit:?}: {scale}");
        }
    }
}

#[test]
fn a_norm_that_is_no_number_leaves_everything_as_it_was() {
    let values = [1.0, -2.0, 3.0];
    let step = |gradient_scale| AdamWStep {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.05,
        step: 3,
        gradient_scale,
    };
    let x = || tensor::<1>(&values, [3], DType::F64);
    for (bad, limit) in [
        (f64::NAN, None),
        (f64::INFINITY, Some(1.0)),
        (f64::NEG_INFINITY, None),
    ] {
        let gradient = [0.1, bad, 0.3];
        let scale = norm_of([&gradient, &[1.0]], DType::F64).clip(limit);
        let moved = adamw(
            x(),
            tensor(&gradient, [3], DType::F64),
            x(),
            x().square(),
            &step(scale),
        );
        assert_eq!(read(moved.0), values, "{bad}");
        assert_eq!(read(moved.1), values, "{bad}");
        assert_eq!(read(moved.2), [1.0, 4.0, 9.0], "{bad}");
    }
    // And one that is a number scales, as a known factor does.
    let gradient = tensor(&[3.0, 0.0, 4.0], [3], DType::F64);
    let scale = norm_of([&[3.0, 0.0, 4.0], &[0.0]], DType::F64).clip(Some(2.0));
    let [ours, known] =
        [scale, 0.4.into()].map(|scale| adamw(x(), gradient.clone(), x(), x().square(), &step(scale)).0);
    close("clipped", &read(ours), &read(known), 1e-7);
}
