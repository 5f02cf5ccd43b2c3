use blip2_kernels::{AdamWStep, adamw, sum_of_squares};
use burn::tensor::{DType, Tensor};

use crate::support::{close, numbers, read, tensor};

/// `torch.optim.AdamW` in scalars, as its documentation states it.
fn reference(parameter: &mut [f64; 3], gradient: f64, step: &AdamWStep) {
    let [value, first, second] = parameter;
    let gradient = gradient * step.gradient_scale;
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
                gradient_scale: 0.7,
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
        gradient_scale: 1.0,
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
