use blip2_kernels::linear;
use burn::tensor::{DType, Device, Tensor};

use crate::support::{agree, close, numbers, read, tensor};

#[test]
fn linear_is_the_sum_of_products() {
    let (rows, width, out) = (3, 5, 4);
    let (x, weight, bias) = (numbers(1, rows * width), numbers(2, out * width), numbers(3, out));
    let expected: Vec<f64> = (0..rows * out)
        .map(|index| {
            let (row, column) = (index / out, index % out);
            bias[column]
                + (0..width)
                    .map(|i| x[row * width + i] * weight[column * width + i])
                    .sum::<f64>()
        })
        .collect();
    let y = linear(
        tensor(&x, [rows, width], DType::F32),
        tensor(&weight, [out, width], DType::F32),
        Some(tensor(&bias, [out], DType::F32)),
    );
    close("linear", &read(y), &expected, 1e-6);
}

#[test]
fn linear_agrees_over_odd_shapes() {
    for [batch, tokens, width, out] in [
        [1, 1, 1, 1],
        [1, 1, 7, 5],
        [2, 3, 16, 33],
        [3, 17, 65, 19],
        [1, 300, 48, 64],
        [2, 129, 96, 70],
    ] {
        let inputs = [
            numbers(1, batch * tokens * width),
            numbers(2, out * width)
                .iter()
                .map(|w| w / (width as f64).sqrt())
                .collect(),
            numbers(3, out),
        ];
        let shape = [batch, tokens, width];
        agree("linear", &inputs, &|x| {
            linear(
                x[0].clone().reshape(shape),
                x[1].clone().reshape([out, width]),
                Some(x[2].clone()),
            )
            .flatten(0, 2)
        });
        agree("linear without bias", &inputs[..2], &|x| {
            linear(
                x[0].clone().reshape(shape),
                x[1].clone().reshape([out, width]),
                None,
            )
            .flatten(0, 2)
        });
        agree("linear of views", &inputs, &|x| {
            let swapped = x[0].clone().reshape([tokens, batch, width]).swap_dims(0, 1);
            let weight = x[1].clone().reshape([width, out]).transpose();
            linear(swapped, weight, Some(x[2].clone())).flatten(0, 2)
        });
    }
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let device = Device::flex().autodiff();
    let leaf = |seed, shape: [usize; 2]| {
        Tensor::<1>::from_data(numbers(seed, shape[0] * shape[1]).as_slice(), &device).reshape(shape)
    };
    let x = leaf(1, [4, 3]).require_grad();
    let weight = leaf(2, [5, 3]);
    let gradients = linear(x.clone(), weight.clone(), None).sum().backward();
    let expected = weight.clone().inner().sum_dim(0).expand([4, 3]);
    close(
        "gradient of x",
        &read(x.grad(&gradients).expect("x is tracked")),
        &read(expected),
        1e-6,
    );
    assert!(weight.grad(&gradients).is_none());

    let weight = leaf(2, [5, 3]).require_grad();
    let plain = x.clone().inner();
    let gradients = linear(Tensor::from_inner(plain.clone()), weight.clone(), None)
        .sum()
        .backward();
    let expected = plain.sum_dim(0).expand([5, 3]);
    close(
        "gradient of weight",
        &read(weight.grad(&gradients).expect("weight is tracked")),
        &read(expected),
        1e-6,
    );
    assert!(x.grad(&gradients).is_none());
}

#[test]
#[should_panic(expected = "linear: the last dimension of x [2, 3] must be that of weight [5, 4]")]
fn shapes_are_checked() {
    linear(
        tensor(&[0.0; 6], [2, 3], DType::F32),
        tensor(&[0.0; 20], [5, 4], DType::F32),
        None,
    );
}
