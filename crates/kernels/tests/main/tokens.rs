use blip2_kernels::{gelu, join_tokens, layer_norm, linear, split_tokens};
use burn::tensor::{DType, Tensor};

use crate::support::{agree, close, numbers, run};

#[test]
fn sequences_are_split_and_joined() {
    for [batch, tokens, width, count] in [[1, 2, 1, 1], [3, 7, 5, 2], [2, 4, 300, 3], [4, 55, 64, 32]] {
        let x = numbers(1, batch * tokens * width);
        let outcome = agree("split and joined", std::slice::from_ref(&x), &|x| {
            let x = x[0].clone().reshape([batch, tokens, width]);
            let (first, second) = split_tokens(x, count);
            assert_eq!(first.dims(), [batch, count, width]);
            join_tokens(first, second).reshape([batch * tokens * width])
        });
        close("as before", &outcome.values, &x, 0.0);
    }
}

#[test]
fn parts_trade_places() {
    agree("the second part first", &[numbers(2, 2 * 5 * 3)], &|x| {
        let (first, second) = split_tokens(x[0].clone().reshape([2, 5, 3]), 2);
        join_tokens(second, first * 2.0).reshape([30])
    });
}

#[test]
fn a_part_that_nobody_reads_gets_no_gradient() {
    let outcome = run(&[numbers(3, 12)], DType::F32, &|x| {
        split_tokens(x[0].clone().reshape([2, 3, 2]), 1).1.reshape([8])
    });
    for (row, gradients) in outcome.gradients[0].chunks(6).enumerate() {
        assert_eq!(&gradients[..2], &[0.0; 2], "row {row}");
        assert!(gradients[2..].iter().all(|gradient| *gradient != 0.0));
    }
}

#[test]
fn a_whole_that_is_read_too_gets_all_gradients() {
    agree("parts and whole", &[numbers(4, 24)], &|x| {
        let x = x[0].clone().reshape([2, 4, 3]);
        let (first, second) = split_tokens(x.clone(), 2);
        (join_tokens(first.clone(), second) + x + join_tokens(first.clone(), first)).reshape([24])
    });
}

/// Linear maps that read what is computed again for their backward pass, each more than once.
#[test]
fn what_is_computed_again_is_the_same() {
    let inputs = [
        numbers(5, 2 * 5 * 8),
        numbers(6, 8 * 8),
        numbers(7, 8),
        numbers(8, 8),
    ];
    agree("a layer", &inputs, &|x| {
        let [states, weight, scale, shift] = [0, 1, 2, 3].map(|index| x[index].clone());
        let weight: Tensor<2> = weight.reshape([8, 8]);
        let normal = layer_norm(states.reshape([2, 5, 8]), scale.clone(), shift.clone(), 1e-5);
        let (first, second) = split_tokens(normal.clone(), 2);
        let first = linear(
            gelu(linear(first, weight.clone(), None)),
            weight.clone(),
            Some(shift),
        );
        let second = linear(
            gelu(linear(second, weight.clone(), None)),
            weight.clone(),
            Some(scale),
        );
        (linear(join_tokens(first, second), weight.clone(), None) + linear(normal, weight, None))
            .reshape([80])
    });
}
