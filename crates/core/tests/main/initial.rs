//! Initial weights are decided by the seed and the order of construction alone.

use blip2_core::Initializer;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

fn values(parameter: &Param<Tensor<2>>) -> Vec<f32> {
    parameter.val().into_data().try_to_vec().expect("f32")
}

fn initializer(seed: u64) -> Initializer {
    Initializer::new(seed, &Device::flex())
}

#[test]
fn the_seed_decides_the_values() {
    let draw = |seed| values(&initializer(seed).normal([8, 16], 0.02));
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn reading_one_parameter_leaves_the_others_alone() {
    let mut eager = initializer(3);
    let expected: Vec<Vec<f32>> = (0..4)
        .map(|index| {
            values(&if index % 2 == 0 {
                eager.normal([4, 4], 1.0)
            } else {
                eager.uniform([4, 4], 1.0)
            })
        })
        .collect();

    let mut lazy = initializer(3);
    let parameters: Vec<Param<Tensor<2>>> = (0..4)
        .map(|index| {
            if index % 2 == 0 {
                lazy.normal([4, 4], 1.0)
            } else {
                lazy.uniform([4, 4], 1.0)
            }
        })
        .collect();
    for index in [3, 0, 2] {
        assert_eq!(values(&parameters[index]), expected[index], "parameter {index}");
    }
}

#[test]
fn values_have_the_distribution_they_are_named_after() {
    let mut initializer = initializer(5);
    let count = 40_000.0;
    let normal = values(&initializer.normal([200, 200], 0.02));
    let mean = normal.iter().sum::<f32>() / count;
    let deviation = (normal.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt();
    assert!(
        mean.abs() < 4e-4 && (deviation - 0.02).abs() < 4e-4,
        "mean {mean}, deviation {deviation}"
    );
    let tails = normal.iter().filter(|value| value.abs() > 0.04).count() as f32 / count;
    assert!((tails - 0.0455).abs() < 0.005, "{tails} beyond two deviations");

    let uniform = values(&initializer.uniform([200, 200], 0.5));
    assert!(uniform.iter().all(|value| value.abs() <= 0.5));
    let beyond_half = uniform.iter().filter(|value| **value > 0.25).count() as f32 / count;
    assert!((beyond_half - 0.25).abs() < 0.01, "{beyond_half}");
    assert!(
        values(&initializer.constant([2, 2], 7.0))
            .iter()
            .all(|value| *value == 7.0)
    );
}

#[test]
fn parameters_train_on_an_autodiff_device_alone() {
    for (device, trains) in [(Device::flex(), false), (Device::flex().autodiff(), true)] {
        let parameter: Param<Tensor<2>> = Initializer::new(1, &device).normal([2, 2], 1.0);
        assert_eq!(parameter.val().is_require_grad(), trains);
    }
}
