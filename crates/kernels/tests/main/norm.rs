use blip2_kernels::{add_layer_norm, layer_norm, rms_norm};
use burn::tensor::DType;

use crate::support::{agree, close, numbers, read, tensor};

const SHAPES: [[usize; 2]; 8] = [
    [1, 1],
    [1, 3],
    [2, 15],
    [3, 16],
    [7, 33],
    [65, 384],
    [2, 1000],
    [600, 70],
];

#[test]
fn norms_follow_their_formulas() {
    let (width, epsilon) = (37, 1e-5);
    let (x, weight, bias) = (numbers(1, width), numbers(2, width), numbers(3, width));
    let mean = x.iter().sum::<f64>() / width as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
    let mean_square = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
    let layer: Vec<f64> = (0..width)
        .map(|i| (x[i] - mean) / (variance + epsilon).sqrt() * weight[i] + bias[i])
        .collect();
    let rms: Vec<f64> = (0..width)
        .map(|i| x[i] / (mean_square + epsilon).sqrt() * weight[i])
        .collect();
    let single = |values: &[f64]| tensor(values, [width], DType::F32);
    let row = || tensor(&x, [1, width], DType::F32);
    close(
        "layer",
        &read(layer_norm(row(), single(&weight), single(&bias), epsilon)),
        &layer,
        1e-6,
    );
    close(
        "rms",
        &read(rms_norm(row(), single(&weight), epsilon)),
        &rms,
        1e-6,
    );
}

#[test]
fn norms_agree_over_odd_shapes() {
    for [rows, width] in SHAPES {
        let count = rows * width;
        // Far from zero, where a variance by sums of squares would fail.
        let x: Vec<f64> = numbers(1, count)
            .iter()
            .map(|x| f64::from((x + 30.0) as f32))
            .collect();
        let inputs = [x.clone(), numbers(2, width), numbers(3, width)];
        agree("layer_norm", &inputs, &|x| {
            layer_norm(
                x[0].clone().reshape([rows, width]),
                x[1].clone(),
                x[2].clone(),
                1e-2,
            )
            .reshape([count])
        });
        agree("rms_norm", &inputs[..2], &|x| {
            rms_norm(x[0].clone().reshape([rows, width]), x[1].clone(), 1e-5).reshape([count])
        });
        let inputs = [
            numbers(1, count),
            numbers(4, count),
            numbers(2, width),
            numbers(3, width),
        ];
        agree("add_layer_norm", &inputs, &|x| {
            let (sum, residual) = (
                x[0].clone().reshape([1, rows, width]),
                x[1].clone().reshape([1, rows, width]),
            );
            add_layer_norm(sum, residual, x[2].clone(), x[3].clone(), 1e-2).reshape([count])
        });
    }
}

#[test]
fn a_row_used_twice_gets_both_gradients() {
    agree(
        "x + norm(x + x)",
        &[numbers(1, 24), numbers(2, 8), numbers(3, 8)],
        &|x| {
            let rows = x[0].clone().reshape([3, 8]);
            (rows.clone() + add_layer_norm(rows.clone(), rows, x[1].clone(), x[2].clone(), 1e-5))
                .reshape([24])
        },
    );
}
