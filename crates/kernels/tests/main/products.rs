//! Products in bfloat16, and large ones in single precision.

use blip2_kernels::{CrossEntropyOptions, Products, linear, linear_cross_entropy, with_products};
use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;

use crate::support::{close, composed, integers, numbers, read, rounds, run, tensor};

/// What a number is after rounding to bfloat16.
fn rounded(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    f64::from(f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000))
}
fn tolerance(products: Products) -> f64 {
    match products {
        Products::Bf16 if composed() => 1.0 / 128.0,
        Products::Bf16 => 1e-5,
        // Two of the three parts of a number would be off by more than twice as much.
        Products::F32 => 1e-6,
    }
}

/// `left · right` of operands in a precision, `[rows, depth]` and `[depth, columns]`.
fn product(products: Products, left: &[f64], right: &[f64], [rows, depth, columns]: [usize; 3]) -> Vec<f64> {
    let operand = |values: &[f64]| -> Vec<f64> {
        let round = |x: &f64| match products {
            Products::Bf16 if rounds() => rounded(*x),
            _ => *x,
        };
        values.iter().map(round).collect()
    };
    let (left, right) = (operand(left), operand(right));
    (0..rows * columns)
        .map(|index| {
            let (row, column) = (index / columns, index % columns);
            (0..depth)
                .map(|i| left[row * depth + i] * right[i * columns + column])
                .sum()
        })
        .collect()
}

fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    let rows = values.len() / columns;
    (0..values.len())
        .map(|index| values[index % rows * columns + index / rows])
        .collect()
}

/// Values and gradients of a linear map against the products they are made of.
fn check(products: Products, [rows, inputs, outputs]: [usize; 3], views: bool) {
    let x = numbers(1, rows * inputs);
    let weight = numbers(2, outputs * inputs);
    let bias = numbers(3, outputs);
    let found = with_products(products, || {
        run(
            &[x.clone(), weight.clone(), bias.clone()],
            DType::F32,
            &|arguments| {
                let [x, weight, bias] = arguments.try_into().expect("three");
                if views {
                    // The same numbers, lying otherwise: the weight by columns, the input with a gap and an offset.
                    let weight: Tensor<2> = weight
                        .reshape([outputs, inputs])
                        .transpose()
                        .mul_scalar(1.0)
                        .transpose();
                    let x: Tensor<2> = x.reshape([rows, inputs]);
                    let padded = Tensor::cat(vec![x.zeros_like(), x.clone(), x], 1);
                    let x = padded.slice([0..rows, inputs..2 * inputs]);
                    linear(x, weight, Some(bias)).flatten(0, 1)
                } else {
                    linear(
                        x.reshape([rows, inputs]),
                        weight.reshape([outputs, inputs]),
                        Some(bias),
                    )
                    .flatten(0, 1)
                }
            },
        )
    });
    let mut values = product(
        products,
        &x,
        &transposed(&weight, inputs),
        [rows, inputs, outputs],
    );
    values
        .iter_mut()
        .enumerate()
        .for_each(|(index, value)| *value += bias[index % outputs]);
    close("values", &found.values, &values, tolerance(products));
    let probe = numbers(99, rows * outputs);
    let of_x = product(products, &probe, &weight, [rows, outputs, inputs]);
    close("gradient of x", &found.gradients[0], &of_x, tolerance(products));
    let of_weight = product(
        products,
        &transposed(&probe, outputs),
        &x,
        [outputs, rows, inputs],
    );
    close(
        "gradient of weight",
        &found.gradients[1],
        &of_weight,
        tolerance(products),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn products_are_sums_over_rounded_operands(
        rows in 1usize..70, inputs in 1usize..70, outputs in 1usize..70, views: bool,
    ) {
        check(Products::Bf16, [rows, inputs, outputs], views);
    }
}

#[test]
fn long_sums_and_many_strips_are_whole() {
    check(Products::Bf16, [3, 2100, 5], false);
    check(Products::Bf16, [520, 33, 290], false);
    check(Products::Bf16, [290, 1040, 520], true);
}

#[test]
fn large_products_in_single_precision_are_as_precise_as_that() {
    for [rows, inputs, outputs] in [
        [257, 130, 300],
        [290, 1040, 520],
        [16, 2100, 250],
        [1030, 40, 205],
    ] {
        check(Products::F32, [rows, inputs, outputs], false);
        check(Products::F32, [rows, inputs, outputs], true);
    }
}

#[test]
fn scopes_nest_and_end() {
    let [x, weight] = [1, 2].map(|seed| tensor(&numbers(seed, 64 * 64), [64, 64], DType::F32));
    let y = || read(linear(x.clone(), weight.clone(), None));
    let single = y();
    let (half, inside) = with_products(Products::Bf16, || (y(), with_products(Products::F32, y)));
    assert_eq!(single != half, rounds());
    assert_eq!(single, inside);
    assert_eq!(single, y());
    let unwound = std::panic::catch_unwind(|| with_products(Products::Bf16, || panic!("on purpose")));
    assert!(unwound.is_err());
    assert_eq!(single, y());
}

#[test]
fn the_backward_pass_keeps_the_precision_of_the_forward_pass() {
    let device = Device::flex().autodiff();
    let leaf = |seed| {
        Tensor::<1>::from_data(numbers(seed, 64 * 64).as_slice(), &device)
            .reshape([64, 64])
            .require_grad()
    };
    let (x, weight): (Tensor<2>, Tensor<2>) = (leaf(1), leaf(2));
    let gradient = |products, scope| {
        let y = with_products(products, || linear(x.clone(), weight.clone(), None));
        let loss = (y * leaf(3).detach()).sum();
        let gradients = with_products(scope, || loss.backward());
        read(weight.grad(&gradients).expect("a gradient"))
    };
    let single = gradient(Products::F32, Products::Bf16);
    let half = gradient(Products::Bf16, Products::F32);
    assert_eq!(single, gradient(Products::F32, Products::F32));
    assert_eq!(half, gradient(Products::Bf16, Products::Bf16));
    assert_eq!(single != half, rounds());
    close("gradient", &half, &single, 0.02);
}

#[test]
fn the_fused_loss_is_near_single_precision() {
    let (rows, width, classes) = (37, 65, 83);
    let inputs = [
        numbers(1, rows * width),
        numbers(2, classes * width),
        numbers(3, classes),
    ];
    let targets: Vec<usize> = (0..rows).map(|row| row * 7 % classes).collect();
    let outcome = |products| {
        with_products(products, || {
            run(&inputs, DType::F32, &|x| {
                linear_cross_entropy(
                    x[0].clone().reshape([rows, width]),
                    x[1].clone().reshape([classes, width]),
                    Some(x[2].clone()),
                    integers(&targets),
                    CrossEntropyOptions { label_smoothing: 0.1 },
                )
            })
        })
    };
    let (single, half) = (outcome(Products::F32), outcome(Products::Bf16));
    assert_eq!(single.values != half.values, rounds());
    close("loss", &half.values, &single.values, 0.02);
    for (half, single) in half.gradients.iter().zip(&single.gradients) {
        assert_eq!(half != single, rounds());
        close("gradient", half, single, 0.02);
    }
}

#[test]
fn what_is_no_number_stays_so() {
    // The second is a NaN whose only mark lies in the half that rounding drops.
    for (strange, is_kept) in [
        (f32::NAN, f64::is_nan as fn(f64) -> bool),
        (f32::from_bits(0x7f80_0001), f64::is_nan),
        (f32::INFINITY, |x| x == f64::INFINITY),
        (f32::NEG_INFINITY, |x| x == f64::NEG_INFINITY),
    ] {
        let mut x = vec![1.0f32; 33 * 40];
        x[5 * 40 + 17] = strange;
        let x = Tensor::<1>::from_data(x.as_slice(), &Device::flex()).reshape([33, 40]);
        let weight = Tensor::<2>::ones([35, 40], &Device::flex());
        let y = read(with_products(Products::Bf16, || linear(x, weight, None)));
        for (index, y) in y.into_iter().enumerate() {
            if index / 35 == 5 {
                assert!(is_kept(y), "{strange} became {y}");
            } else {
                assert_eq!(y, 40.0);
            }
        }
    }
}
