//! Our kernels on one of NVIDIA's GPUs against the definitions in double precision. They also run on processors, each instruction
//! written out, with other sizes: `crates/kernels/tests/cuda`.

use burn::tensor::{DType, Device, Tensor};

use super::super::tests::{Operation, TOLERANCE, agrees, close, device, numbers, read, run};
use crate::flex::attention::Rules;
use crate::products::Products;
use crate::{AdamWStep, Scalar, composed};

/// Operands are rounded to bfloat16.
const ROUNDED: f64 = 1.0 / 32.0;

#[test]
fn attention_in_one_kernel() {
    for [batch, heads, key_heads, queries, keys, width] in [
        [2, 4, 4, 257, 257, 88],
        [2, 4, 2, 40, 40, 64],
        [1, 2, 1, 5, 130, 80],
        [3, 2, 2, 33, 70, 128],
    ] {
        for (causal, biased, products) in [
            (false, false, Products::Bf16),
            (true, false, Products::Bf16),
            (false, true, Products::Bf16),
            (true, false, Products::F32),
            (false, true, Products::F32),
        ] {
            let rules = Rules {
                scale: (width as f64).sqrt().recip(),
                causal,
                rows: None,
                products,
            };
            let exact = Rules {
                products: Products::F32,
                ..rules.clone()
            };
            let key = batch * key_heads * keys * width;
            let inputs = [
                numbers(1, batch * queries * heads * width),
                numbers(2, key),
                numbers(3, key),
            ];
            // Tokens before heads, as linear layers leave them.
            let split = |x: &[Tensor<1>]| {
                let heads_of = |x: &Tensor<1>, tokens, heads| {
                    x.clone().reshape([batch, tokens, heads, width]).swap_dims(1, 2)
                };
                let bias = biased.then(|| {
                    let values = numbers(4, batch * keys);
                    let place = (&x[0].device().inner(), x[0].dtype());
                    Tensor::<1>::from_data(values.as_slice(), place).reshape([batch, 1, 1, keys])
                });
                let query = heads_of(&x[0], queries, heads);
                (
                    query,
                    heads_of(&x[1], keys, key_heads),
                    heads_of(&x[2], keys, key_heads),
                    bias,
                )
            };
            let ours: Operation = &|x| {
                let (query, key, value, bias) = split(x);
                crate::gpu::attention::attention(query, key, value, bias, rules.clone()).flatten(0, 3)
            };
            let definition: Operation = &|x| {
                let (query, key, value, bias) = split(x);
                composed::attention(query, key, value, bias, &exact).flatten(0, 3)
            };
            let found = run(&device(), DType::F32, &inputs, ours);
            let expected = run(&Device::flex(), DType::F64, &inputs, definition);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                let name = format!(
                    "{queries} queries, {keys} keys, width {width}, causal {causal}, biased {biased}, {products:?}"
                );
                let tolerance = if products == Products::F32 {
                    TOLERANCE
                } else {
                    ROUNDED
                };
                close(&name, found, expected, tolerance);
            }
        }
    }
}

#[test]
fn layer_norms_and_their_gradients() {
    for [rows, width] in [[1, 128], [5, 768], [1100, 256]] {
        let inputs = [numbers(1, rows * width), numbers(2, width), numbers(3, width)];
        let split = |x: &[Tensor<1>]| (x[0].clone().reshape([1, rows, width]), x[1].clone(), x[2].clone());
        let name = format!("layer norm of {rows} rows of {width}");
        agrees(
            &name,
            &inputs,
            &|x| {
                let (x, weight, bias) = split(x);
                crate::layer_norm(x, weight, bias, 1e-6).flatten(0, 2)
            },
            &|x| {
                let (x, weight, bias) = split(x);
                composed::layer_norm(x, weight, bias, 1e-6).flatten(0, 2)
            },
        );
        // Parameters that are not learned.
        let constants = |x: &[Tensor<1>]| {
            let x = x[0].clone().reshape([1, rows, width]);
            let place = (&x.device().inner(), x.dtype());
            // Held in 16 bits, as those of frozen models are.
            let constant = |which: usize| {
                let rounded = Tensor::<1>::from_data(inputs[which].as_slice(), (place.0, DType::BF16));
                match place.1 == DType::F32 {
                    true => rounded,
                    false => rounded.cast(DType::F64),
                }
            };
            (x, constant(1), constant(2))
        };
        agrees(
            &format!("{name}, frozen"),
            &inputs[..1],
            &|x| {
                let (x, weight, bias) = constants(x);
                crate::layer_norm(x, weight, bias, 1e-6).flatten(0, 2)
            },
            &|x| {
                let (x, weight, bias) = constants(x);
                composed::layer_norm(x, weight, bias, 1e-6).flatten(0, 2)
            },
        );
    }
}

#[test]
fn numbers_of_16_bits() {
    let [rows, width, outputs] = [9, 128, 24];
    let tensor = |seed, count: usize, device: &Device, dtype| {
        let values = numbers(seed, count);
        // Exactly there in either type.
        let values: Vec<f64> = values.iter().map(|x| (x * 16.0).round() / 16.0).collect();
        Tensor::<1>::from_data(values.as_slice(), (device, dtype))
    };
    let made = |device: &Device, dtype| {
        let x = tensor(1, rows * width, device, dtype).reshape([rows, width]);
        let [scale, shift] = [2, 3].map(|seed| tensor(seed, width, device, dtype));
        let weight = tensor(4, outputs * width, device, dtype).reshape([outputs, width]);
        let bias = tensor(5, outputs, device, dtype);
        let residual = tensor(6, rows * outputs, device, dtype).reshape([rows, outputs]);
        [
            read(crate::layer_norm(x.clone(), scale, shift, 1e-5).cast(DType::F32)),
            read(crate::gelu(x.clone()).cast(DType::F32)),
            read(crate::add_linear(residual, x, weight, Some(bias)).cast(DType::F32)),
        ]
    };
    let expected = made(&Device::flex(), DType::F32);
    for dtype in [DType::BF16, DType::F16] {
        let found = made(&device(), dtype);
        for (found, expected) in found.iter().zip(&expected) {
            close(&format!("{dtype:?}"), found, expected, 1.0 / 128.0);
        }
    }
}

#[test]
fn activations_and_their_gradients() {
    let inputs = [numbers(1, 1030)];
    agrees("GELU", &inputs, &|x| crate::gelu(x[0].clone()), &|x| {
        composed::gelu(x[0].clone())
    });
}

#[test]
fn steps_of_the_optimiser() {
    let count = 1003;
    for scale in [0.5, f64::NAN] {
        let step = |scale| AdamWStep {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.05,
            step: 3,
            gradient_scale: scale,
        };
        let moved = |device: &Device, dtype| {
            let tensor = |seed| Tensor::<1>::from_data(numbers(seed, count).as_slice(), (device, dtype));
            let scale = Tensor::<1>::from_data([scale].as_slice(), (device, dtype));
            let step = step(Scalar::OnDevice(scale));
            let second = tensor(4) * tensor(4);
            let (parameter, first, second) = crate::adamw(tensor(1), tensor(2), tensor(3), second, &step);
            [read(parameter), read(first), read(second)]
        };
        let found = moved(&device(), DType::F32);
        let expected = moved(&Device::flex(), DType::F64);
        for (found, expected) in found.iter().zip(&expected) {
            close("AdamW", found, expected, TOLERANCE);
        }
    }
}
