use blip2_kernels::{gelu, gelu_tanh, quick_gelu, silu_gate, softmax};
use burn::tensor::DType;

use crate::support::{agree, close, numbers, run};

/// Error function by its Taylor series, which converges everywhere; good to 1e-12 for arguments up to 4.
fn error_function(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// Values and derivatives on a dense grid. Values may be off by half a unit in their last place beyond the error allowed.
#[test]
fn gelu_follows_the_error_function() {
    let points: Vec<f64> = (-24_000..=24_000).map(|step| f64::from(step) / 4096.0).collect();
    let outcome = run(std::slice::from_ref(&points), DType::F32, &|x| gelu(x[0].clone()));
    let probe = numbers(99, points.len());
    let (mut of_values, mut of_slopes) = (0.0f64, 0.0f64);
    for (index, &x) in points.iter().enumerate() {
        let distribution = 0.5 * (1.0 + error_function(x / std::f64::consts::SQRT_2));
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let error = (outcome.values[index] - x * distribution).abs() - 6e-8 * (x * distribution).abs();
        of_values = of_values.max(error);
        let slope = distribution + x * density;
        let error = (outcome.gradients[0][index] - probe[index] * slope).abs() / probe[index].abs().max(0.1);
        of_slopes = of_slopes.max(error);
    }
    assert!(of_values < 2e-7, "values: {of_values}");
    assert!(of_slopes < 2e-7, "derivatives: {of_slopes}");
}

#[test]
fn gelu_saturates_without_noise() {
    let outcome = run(
        &[vec![-1e30, -40.0, -9.0, 0.0, 9.0, 40.0, 1e30]],
        DType::F32,
        &|x| gelu(x[0].clone()),
    );
    let probe = numbers(99, 7);
    let slope = [0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0];
    let expected: Vec<f64> = probe
        .iter()
        .zip(slope)
        .map(|(probe, slope)| probe * slope)
        .collect();
    close(
        "values",
        &outcome.values[..6],
        &[0.0, 0.0, 0.0, 0.0, 9.0, 40.0],
        1e-7,
    );
    close("gradients", &outcome.gradients[0], &expected, 1e-6);
}

#[test]
fn activations_agree_over_odd_sizes() {
    for count in [1, 2, 15, 16, 17, 31, 33, 127, 1000, 70_001] {
        let x: Vec<f64> = numbers(count as u64, count).iter().map(|x| x * 2.0).collect();
        agree("gelu", std::slice::from_ref(&x), &|x| gelu(x[0].clone()));
        agree("gelu_tanh", std::slice::from_ref(&x), &|x| {
            gelu_tanh(x[0].clone())
        });
        agree("quick_gelu", std::slice::from_ref(&x), &|x| {
            quick_gelu(x[0].clone())
        });
        agree("silu_gate", &[x, numbers(7, count)], &|x| {
            silu_gate(x[0].clone(), x[1].clone())
        });
    }
}

#[test]
fn activations_take_transposed_views() {
    agree("gelu of a transposed view", &[numbers(1, 35)], &|x| {
        gelu(x[0].clone().reshape([5, 7]).swap_dims(0, 1)).reshape([35])
    });
    agree(
        "silu_gate of a transposed and a plain tensor",
        &[numbers(1, 35), numbers(2, 35)],
        &|x| {
            let gate = x[0].clone().reshape([5, 7]).swap_dims(0, 1);
            silu_gate(gate, x[1].clone().reshape([7, 5])).reshape([35])
        },
    );
}

#[test]
fn softmax_agrees_over_odd_sizes() {
    for (rows, width) in [(1, 1), (1, 7), (3, 16), (5, 33), (2, 257), (300, 65)] {
        agree("softmax", &[numbers(rows as u64, rows * width)], &|x| {
            softmax(x[0].clone().reshape([rows, width])).reshape([rows * width])
        });
    }
}

#[test]
fn softmax_of_extreme_rows() {
    let hidden = f64::NEG_INFINITY;
    let lowest = f64::from(f32::MIN);
    let rows = [
        [hidden; 3],
        [hidden, 1.0, hidden],
        [lowest; 3],
        [lowest, 88.0, 88.0],
        [1e38, -1e38, 0.0],
    ];
    let outcome = run(&[rows.concat()], DType::F32, &|x| {
        softmax(x[0].clone().reshape([5, 3])).reshape([15])
    });
    let third = 1.0 / 3.0;
    let expected = [
        [0.0; 3],
        [0.0, 1.0, 0.0],
        [third; 3],
        [0.0, 0.5, 0.5],
        [1.0, 0.0, 0.0],
    ]
    .concat();
    close("values", &outcome.values, &expected, 1e-6);
    assert!(outcome.gradients[0].iter().all(|gradient| gradient.is_finite()));
    close(
        "gradient of a row that is hidden",
        &outcome.gradients[0][..3],
        &[0.0; 3],
        0.0,
    );
}
