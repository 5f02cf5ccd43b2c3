//! Single operations, forward alone or with their backward.

use anyhow::Result;
use blip2_kernels::{
    AdamWStep, AttentionOptions, CrossEntropyOptions, adamw, add_layer_norm, attention, cross_entropy, gelu,
    gelu_tanh, layer_norm, linear, linear_cross_entropy, quick_gelu, rms_norm, silu_gate, softmax,
    sum_of_squares,
};
use burn::tensor::{Device, Distribution, Int, Tensor};
use serde::Deserialize;

use crate::workload::{Phase, Precision, Workload};

/// One operation at one size.
#[derive(Deserialize)]
pub(crate) struct Op {
    #[serde(flatten)]
    operation: Operation,
    /// With the backward pass to all arguments, from a gradient of ones.
    #[serde(default)]
    training: bool,
    /// Of matrix products.
    #[serde(default)]
    precision: Precision,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Operation {
    Gelu(Matrix),
    GeluTanh(Matrix),
    QuickGelu(Matrix),
    SiluGate(Matrix),
    Softmax(Matrix),
    LayerNorm(Matrix),
    AddLayerNorm(Matrix),
    RmsNorm(Matrix),
    Linear {
        rows: usize,
        inputs: usize,
        outputs: usize,
    },
    Attention(Attention),
    CrossEntropy {
        rows: usize,
        classes: usize,
    },
    LinearCrossEntropy {
        rows: usize,
        width: usize,
        classes: usize,
    },
    Adamw {
        count: usize,
    },
    GradientNorm {
        count: usize,
    },
}

#[derive(Clone, Copy, Deserialize)]
struct Matrix {
    rows: usize,
    width: usize,
}

#[derive(Clone, Copy, Deserialize)]
struct Attention {
    batch: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
    #[serde(default)]
    causal: bool,
}

/// Matrix products of forward and backward pass for each one of the forward pass.
const TRAINING_PRODUCTS: f64 = 3.0;
const SMOOTHING: CrossEntropyOptions = CrossEntropyOptions { label_smoothing: 0.1 };
const EPSILON: f64 = 1e-6;

impl Op {
    pub(crate) fn open(self, device: &Device) -> Workload {
        let Self {
            operation,
            training,
            precision,
        } = self;
        let device = match training {
            true => &device.clone().autodiff(),
            false => device,
        };
        let products =
            |operations: f64| precision.products(operations * if training { TRAINING_PRODUCTS } else { 1.0 });
        // In training a result is written, then argument and gradient are read and another gradient is written.
        let streams = |read: f64, written: f64, count: usize| {
            let numbers = read + written + if training { 2.0 * read + written } else { 0.0 };
            Phase::bytes(4.0 * numbers * count as f64)
        };
        let map = |matrix: Matrix, apply: fn(Tensor<2>) -> Tensor<2>| {
            let x = leaf([matrix.rows, matrix.width], device);
            let needs = streams(1.0, 1.0, matrix.rows * matrix.width);
            forward(needs, training, precision, move || apply(x.clone()))
        };
        match operation {
            Operation::Gelu(matrix) => map(matrix, gelu),
            Operation::GeluTanh(matrix) => map(matrix, gelu_tanh),
            Operation::QuickGelu(matrix) => map(matrix, quick_gelu),
            Operation::Softmax(matrix) => map(matrix, softmax),
            Operation::SiluGate(Matrix { rows, width }) => {
                let [gate, up] = [0, 1].map(|_| leaf([rows, width], device));
                let needs = streams(2.0, 1.0, rows * width);
                forward(needs, training, precision, move || {
                    silu_gate(gate.clone(), up.clone())
                })
            }
            Operation::LayerNorm(Matrix { rows, width }) => {
                let (x, weight, bias) = (
                    leaf([rows, width], device),
                    leaf([width], device),
                    leaf([width], device),
                );
                let needs = streams(1.0, 1.0, rows * width);
                forward(needs, training, precision, move || {
                    layer_norm(x.clone(), weight.clone(), bias.clone(), EPSILON)
                })
            }
            Operation::AddLayerNorm(Matrix { rows, width }) => {
                let [x, residual] = [0, 1].map(|_| leaf([rows, width], device));
                let (weight, bias) = (leaf([width], device), leaf([width], device));
                let needs = streams(2.0, 1.0, rows * width);
                forward(needs, training, precision, move || {
                    add_layer_norm(x.clone(), residual.clone(), weight.clone(), bias.clone(), EPSILON)
                })
            }
            Operation::RmsNorm(Matrix { rows, width }) => {
                let (x, weight) = (leaf([rows, width], device), leaf([width], device));
                let needs = streams(1.0, 1.0, rows * width);
                forward(needs, training, precision, move || {
                    rms_norm(x.clone(), weight.clone(), EPSILON)
                })
            }
            Operation::Linear {
                rows,
                inputs,
                outputs,
            } => {
                let (x, weight, bias) = (
                    leaf([rows, inputs], device),
                    leaf([outputs, inputs], device),
                    leaf([outputs], device),
                );
                let needs = products(2.0 * (rows * inputs * outputs) as f64);
                forward(needs, training, precision, move || {
                    linear(x.clone(), weight.clone(), Some(bias.clone()))
                })
            }
            Operation::Attention(sizes) => {
                let [query, key, value] = [sizes.queries, sizes.keys, sizes.keys]
                    .map(|tokens| leaf([sizes.batch, tokens, sizes.heads, sizes.width], device));
                let scores = sizes.batch * sizes.heads * sizes.queries * sizes.keys;
                let seen = if sizes.causal { 0.5 } else { 1.0 };
                let needs = products(4.0 * (scores * sizes.width) as f64 * seen);
                forward(needs, training, precision, move || {
                    let options = AttentionOptions {
                        causal: sizes.causal,
                        ..Default::default()
                    };
                    let [query, key, value] = [&query, &key, &value].map(|x| x.clone().swap_dims(1, 2));
                    attention(query, key, value, None, options)
                })
            }
            Operation::CrossEntropy { rows, classes } => {
                let (logits, targets) = (leaf([rows, classes], device), targets(rows, classes, device));
                let needs = streams(1.0, 0.0, rows * classes);
                forward(needs, training, precision, move || {
                    cross_entropy(logits.clone(), targets.clone(), SMOOTHING)
                })
            }
            Operation::LinearCrossEntropy { rows, width, classes } => {
                let (hidden, weight, bias) = (
                    leaf([rows, width], device),
                    leaf([classes, width], device),
                    leaf([classes], device),
                );
                let targets = targets(rows, classes, device);
                let needs = products(2.0 * (rows * width * classes) as f64);
                forward(needs, training, precision, move || {
                    let bias = Some(bias.clone());
                    linear_cross_entropy(hidden.clone(), weight.clone(), bias, targets.clone(), SMOOTHING)
                })
            }
            Operation::Adamw { count } => optimiser(count, device),
            Operation::GradientNorm { count } => {
                let gradient = leaf([count], device);
                let run = move || {
                    std::hint::black_box(sum_of_squares(&gradient).sqrt());
                    Ok(())
                };
                Workload {
                    phases: vec![streams(1.0, 0.0, count)],
                    run: Box::new(run),
                }
            }
        }
    }
}

/// A result, and in training its backward pass from a gradient of ones.
fn forward<const D: usize>(
    needs: Phase,
    training: bool,
    precision: Precision,
    compute: impl Fn() -> Tensor<D> + 'static,
) -> Workload {
    let run = move || {
        let result = precision.scope(&compute);
        if training {
            drop(std::hint::black_box(result.backward()));
        } else {
            std::hint::black_box(result);
        }
        Ok(())
    };
    Workload {
        phases: vec![needs],
        run: Box::new(run),
    }
}

/// AdamW's step on a parameter of `count` numbers.
fn optimiser(count: usize, device: &Device) -> Workload {
    let hyper_parameters = AdamWStep {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.05,
        step: 1,
        gradient_scale: 1.0.into(),
    };
    let gradient: Tensor<1> = leaf([count], device);
    let mut state = (gradient.ones_like(), gradient.zeros_like(), gradient.zeros_like());
    let empty = Tensor::empty([0], device);
    let run = move || -> Result<()> {
        // Taken out, so that the step may work in place.
        let (parameter, first, second) =
            std::mem::replace(&mut state, (empty.clone(), empty.clone(), empty.clone()));
        state = adamw(parameter, gradient.clone(), first, second, &hyper_parameters);
        Ok(())
    };
    Workload {
        // Four tensors are read and three are written.
        phases: vec![Phase::bytes(7.0 * 4.0 * count as f64)],
        run: Box::new(run),
    }
}

fn leaf<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let tensor = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    if device.is_autodiff() {
        tensor.require_grad()
    } else {
        tensor
    }
}

fn targets(rows: usize, classes: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::random([rows], Distribution::Uniform(0.0, classes as f64), device)
}
