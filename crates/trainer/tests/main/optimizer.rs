//! Which parameters move, by how much, and what a step refuses.

use std::collections::HashMap;

use blip2_core::weights::{SafetensorsStore, collect, fingerprint, write_safetensors};
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
        ema: None,
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

/// Three steps against the average written out: it begins with the first weights, follows each step by a share, and survives a
/// checkpoint; what has no gradient has no average.
#[test]
fn the_moving_average_follows_the_weights_and_is_kept() {
    let config = OptimizerConfig {
        ema: Some(0.75),
        ..config(None)
    };
    let mut optimizer = Optimizer::new();
    let (mut module, mut expected) = (three(), first_values(&three()));
    assert_eq!(first_values(&optimizer.averaged(module.clone())), expected);
    for _ in 0..3 {
        let gradients = loss(&module).backward();
        module = optimizer.step(module, &gradients, &config, &|_| 0.1).0;
        for (expected, value) in expected.iter_mut().zip(first_values(&module)) {
            *expected = 0.75 * *expected + 0.25 * value;
        }
    }
    let averaged = optimizer.averaged(module.clone());
    for (value, expected) in first_values(&averaged).into_iter().zip(&expected) {
        assert!((value - expected).abs() < 1e-6, "{value} instead of {expected}");
    }
    assert_ne!(first_values(&averaged)[0], first_values(&module)[0]);

    let state = optimizer.state();
    assert_eq!(
        state
            .iter()
            .filter(|(name, _)| name.starts_with("average."))
            .count(),
        2
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("optimizer.safetensors");
    write_safetensors(&file, &state, HashMap::new()).expect("writing");
    let store = SafetensorsStore::open(&file).expect("a file");
    let again = Optimizer::from_state(&store, 3, &device().inner()).expect("moments");
    assert_eq!(first_values(&again.averaged(module)), first_values(&averaged));
}
