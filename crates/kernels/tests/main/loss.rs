use blip2_kernels::{CrossEntropyOptions, cross_entropy, linear_cross_entropy};
use burn::tensor::DType;

use crate::support::{agree, close, integers, numbers, read, run, tensor};

const SHAPES: [[usize; 3]; 5] = [[1, 1, 2], [1, 5, 7], [3, 16, 33], [70, 24, 129], [300, 8, 1001]];

fn targets(rows: usize, classes: usize) -> Vec<usize> {
    (0..rows).map(|row| (row * 7919 + 3) % classes).collect()
}

fn smoothed(label_smoothing: f64) -> CrossEntropyOptions {
    CrossEntropyOptions { label_smoothing }
}

#[test]
fn cross_entropy_follows_its_definition() {
    let (rows, classes) = (3, 5);
    let logits = numbers(1, rows * classes);
    let targets = targets(rows, classes);
    for label_smoothing in [0.0, 0.1] {
        let mut expected = 0.0;
        for (row, target) in logits.chunks(classes).zip(&targets) {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            let costs: Vec<f64> = row.iter().map(|x| sum.ln() - x).collect();
            let mean = costs.iter().sum::<f64>() / classes as f64;
            expected += ((1.0 - label_smoothing) * costs[*target] + label_smoothing * mean) / rows as f64;
        }
        let logits = tensor(&logits, [rows, classes], DType::F32);
        let found = read(cross_entropy(
            logits,
            integers(&targets),
            smoothed(label_smoothing),
        ));
        close("cross_entropy", &found, &[expected], 1e-6);
    }
}

#[test]
fn losses_agree_over_odd_shapes() {
    for [rows, width, classes] in SHAPES {
        let targets = targets(rows, classes);
        for label_smoothing in [0.0, 0.1] {
            agree("cross_entropy", &[numbers(1, rows * classes)], &|x| {
                let logits = x[0].clone().reshape([rows, classes]);
                cross_entropy(logits, integers(&targets), smoothed(label_smoothing))
            });
            let inputs = [
                numbers(1, rows * width),
                numbers(2, classes * width),
                numbers(3, classes),
            ];
            agree("linear_cross_entropy", &inputs, &|x| {
                let (hidden, weight) = (
                    x[0].clone().reshape([rows, width]),
                    x[1].clone().reshape([classes, width]),
                );
                linear_cross_entropy(
                    hidden,
                    weight,
                    Some(x[2].clone()),
                    integers(&targets),
                    smoothed(label_smoothing),
                )
            });
            agree("linear_cross_entropy without bias", &inputs[..2], &|x| {
                let (hidden, weight) = (
                    x[0].clone().reshape([rows, width]),
                    x[1].clone().reshape([classes, width]),
                );
                linear_cross_entropy(
                    hidden,
                    weight,
                    None,
                    integers(&targets),
                    smoothed(label_smoothing),
                )
            });
        }
    }
}

#[test]
fn cross_entropy_of_extreme_logits() {
    let logits = [[1e4, -1e4, f64::NEG_INFINITY], [-1e4, 1e4, f64::NEG_INFINITY]].concat();
    let outcome = run(&[logits], DType::F32, &|x| {
        cross_entropy(
            x[0].clone().reshape([2, 3]),
            integers(&[0, 0]),
            CrossEntropyOptions::default(),
        )
    });
    close("value", &outcome.values, &[1e4], 1e-6);
    let probe = numbers(99, 1)[0];
    close(
        "gradient",
        &outcome.gradients[0],
        &[0.0, 0.0, 0.0, -0.5 * probe, 0.5 * probe, 0.0],
        1e-6,
    );
}
