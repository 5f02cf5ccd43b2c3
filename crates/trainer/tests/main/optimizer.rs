//! Which parameters move, by how much, and what a step refuses.

use blip2_core::weights::{collect, fingerprint};
use blip2_trainer::{Optimizer, OptimizerConfig, is_decayed};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::steps::device;

#[derive(Module, Debug)]
struct Three {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    unread: Param<Tensor<1>>,
}

fn three() -> Three {
    let filled = |value| Tensor::<1>::full([2], value, &device()).require_grad();
    Three {
        weight: Param::from_tensor(Tensor::full([2, 2], 2.0, &device()).require_grad()),
        bias: Param::from_tensor(filled(3.0)),
        unread: Param::from_tensor(filled(4.0)),
    }
}

/// A loss whose gradient is 3 on each of the four weights and 4 on each of the two biases: a norm of the root of 68.
fn loss(module: &Three) -> Tensor<1> {
    (module.weight.val() * 3.0).sum() + (module.bias.val() * 4.0).sum()
}

fn config(clip_norm: Option<f64>) -> OptimizerConfig {
    OptimizerConfig {
        betas: [0.9, 0.98],
        weight_decay: 0.5,
        clip_norm,
    }
}

fn first_values(module: &Three) -> Vec<f32> {
    collect(module)
        .into_iter()
        .map(|(_, data)| data.as_slice::<f32>().expect("f32")[0])
        .collect()
}

#[test]
fn the_first_step_has_the_size_of_the_rate_and_decays_matrices_alone() {
    let module = three();
    let gradients = loss(&module).backward();
    let mut optimizer = Optimizer::new();
    let rate = |path: &str| if path == "weight" { 0.1 } else { 0.2 };
    let (moved, norm) = optimizer.step(module, &gradients, &config(None), &rate);
    assert!((norm.read() - 68.0_f64.sqrt()).abs() < 1e-5);
    assert_eq!(optimizer.steps(), 1);
    // Adam's first step is the sign of the gradient; the decay takes rate times 0.5 of the weight first.
    let expected = [2.0 - 0.1 * 0.5 * 2.0 - 0.1, 3.0 - 0.2, 4.0];
    for (value, expected) in first_values(&moved).into_iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6, "{value} instead of {expected}");
    }
}

#[test]
fn a_parameter_without_gradient_has_no_state() {
    let module = three();
    let gradients = loss(&module).backward();
    let mut optimizer = Optimizer::new();
    optimizer.step(module, &gradients, &config(None), &|_| 0.1);
    let names: Vec<String> = optimizer.state().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["first.bias", "second.bias", "first.weight", "second.weight"]
    );
}

#[test]
fn clipping_scales_the_gradients_that_the_moments_see() {
    let first_moments = |clip| {
        let module = three();
        let gradients = loss(&module).backward();
        let mut optimizer = Optimizer::new();
        let (_, norm) = optimizer.step(module, &gradients, &config(clip), &|_| 0.1);
        assert!(
            (norm.read() - 68.0_f64.sqrt()).abs() < 1e-5,
            "the norm is that before clipping"
        );
        let value = |index: usize| optimizer.state()[index].1.as_slice::<f32>().expect("f32")[0];
        [value(0), value(2)]
    };
    for (clip, scale) in [
        (None, 1.0),
        (Some(100.0), 1.0),
        (Some(2.0), 2.0 / 68.0_f32.sqrt()),
    ] {
        for (found, gradient) in first_moments(clip).into_iter().zip([4.0, 3.0]) {
            assert!((found - 0.1 * gradient * scale).abs() < 1e-6, "{clip:?}: {found}");
        }
    }
}

#[test]
fn a_gradient_that_is_no_number_changes_nothing() {
    for factor in [f32::NAN, f32::INFINITY] {
        let module = three();
        let gradients = (loss(&module) * factor).backward();
        let mut optimizer = Optimizer::new();
        let before = fingerprint(&module);
        let (kept, norm) = optimizer.step(module, &gradients, &config(Some(1.0)), &|_| 0.1);
        assert!(!norm.read().is_finite());
        assert_eq!(fingerprint(&kept), before);
        assert!(optimizer.steps() == 1 && optimizer.state().is_empty());
    }
}

#[test]
fn a_frozen_module_stays_bit_for_bit() {
    let weight = Tensor::<2>::full([2, 2], 2.0, &Device::flex());
    let bias = || Param::from_tensor(Tensor::<1>::full([2], 3.0, &Device::flex()));
    let frozen = Three {
        weight: Param::from_tensor(weight),
        bias: bias(),
        unread: bias(),
    };
    let before = fingerprint(&frozen);
    let input = Tensor::<1>::ones([2], &device()).require_grad();
    let fixed = Tensor::from_inner(frozen.bias.val()).to_device(&device());
    let gradients = (input * fixed).sum().backward();
    let mut optimizer = Optimizer::new();
    let (after, norm) = optimizer.step(frozen, &gradients, &config(None), &|_| 0.1);
    assert_eq!((norm.read(), fingerprint(&after)), (0.0, before));
    assert!(optimizer.state().is_empty());
}

#[test]
fn decay_spares_vectors_and_biases_but_not_the_temperature() {
    for (path, dimensions, decayed) in [
        ("qformer.query_tokens", 3, true),
        ("qformer.text_embeddings.word_embeddings.weight", 2, true),
        ("qformer.layers.0.attention.query.weight", 2, true),
        ("temperature", 1, true),
        ("qformer.layers.0.attention.query.bias", 1, false),
        ("qformer.layer_norm.weight", 1, false),
        ("language_head.bias", 1, false),
    ] {
        assert_eq!(is_decayed(path, dimensions), decayed, "{path}");
    }
}
