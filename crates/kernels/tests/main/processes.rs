//! Settings that a process reads once: all tests of this binary again, in processes of their own.

use std::process::{Command, Output};

use blip2_kernels::{
    AttentionOptions, CrossEntropyOptions, PackedWeight, Packing, Products, attention, layer_norm, linear,
    linear_cross_entropy, packed_linear, with_products,
};
use burn::tensor::{Device, Tensor};

use crate::support::{integers, numbers};

/// Set in those processes, so that they start no more.
const CHILD: &str = "BLIP2_KERNELS_TEST_CHILD";

fn again(arguments: &[&str], variable: &str, value: &str) -> Output {
    Command::new(std::env::current_exe().expect("the path of this test"))
        .args(arguments)
        .env(CHILD, "1")
        .env(variable, value)
        .output()
        .expect("a process of this test")
}

#[test]
fn every_unit_and_the_definitions_pass_all_tests() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    for setting in ["tiles", "composed", "avx512", "avx2", "baseline"] {
        let output = again(&[], "BLIP2_KERNELS", setting);
        assert!(
            output.status.success(),
            "{setting}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    assert!(
        !again(&["gelu"], "BLIP2_KERNELS", "nonsense").status.success(),
        "an unknown setting is refused"
    );
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let bits = |threads: &str| {
        let arguments = ["processes::bits", "--exact", "--ignored", "--nocapture"];
        let output = again(&arguments, "RAYON_NUM_THREADS", threads);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        let line = text
            .lines()
            .find_map(|line| line.split_once("bits "))
            .expect("a line with the bits");
        line.1.to_owned()
    };
    let one = bits("1");
    assert_eq!(one, bits("2"));
    // More threads than sequences: attention then shares its work out by heads.
    assert_eq!(one, bits("20"));
}

/// Prints a digest of values and gradients that pass through most kernels; run by the test above.
#[test]
#[ignore = "a part of the test of threads"]
#[allow(clippy::print_stdout, reason = "the other process reads it")]
fn bits() {
    let device = Device::flex().autodiff();
    let leaf = |seed, shape: [usize; 2]| {
        let values = numbers(seed, shape[0] * shape[1]);
        Tensor::<1>::from_data(values.as_slice(), &device)
            .reshape(shape)
            .require_grad()
    };
    let (x, square, classes) = (leaf(1, [1170, 96]), leaf(2, [96, 96]), leaf(3, [513, 96]));
    let (scale, shift) = (leaf(4, [1, 96]), leaf(5, [1, 96]));
    let targets: Vec<usize> = (0..1170).map(|row| row % 513).collect();
    let loss = || {
        let y = linear(x.clone(), square.clone(), Some(shift.clone().reshape([96])));
        let heads = y.reshape([18, 65, 3, 32]).swap_dims(1, 2);
        let y = attention(
            heads.clone(),
            heads.clone(),
            heads,
            None,
            AttentionOptions::default(),
        );
        let y = y.swap_dims(1, 2).reshape([1170, 96]);
        let y = layer_norm(y, scale.clone().reshape([96]), shift.clone().reshape([96]), 1e-5);
        linear_cross_entropy(
            y,
            classes.clone(),
            None,
            integers(&targets),
            CrossEntropyOptions::default(),
        )
    };
    let mut digest = 0u64;
    let mut add = |value: f32| digest = digest.wrapping_mul(0x0100_0000_01b3) ^ u64::from(value.to_bits());
    for products in [Products::F32, Products::Bf16] {
        let loss = with_products(products, loss);
        let gradients = loss.backward();
        for tensor in [&x, &square, &classes, &scale, &shift] {
            let gradient = tensor.grad(&gradients).expect("a gradient");
            gradient.into_data().iter::<f32>().for_each(&mut add);
        }
        add(loss.into_scalar::<f32>());
    }
    for packing in [Packing::Bf16, Packing::Int8, Packing::Int4] {
        let weight = Tensor::<1>::from_data(numbers(6, 700 * 2080).as_slice(), &Device::flex());
        let weight = PackedWeight::new(weight.reshape([700, 2080]).into_data(), packing).expect("a weight");
        for rows in [2, 5, 33] {
            let x = Tensor::<1>::from_data(numbers(7, rows * 2080).as_slice(), &Device::flex());
            let y = packed_linear(x.reshape([rows, 2080]), &weight, None);
            y.into_data().iter::<f32>().for_each(&mut add);
        }
    }
    println!("bits {digest:016x}");
}
