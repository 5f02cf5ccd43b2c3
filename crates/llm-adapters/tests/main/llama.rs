//! Properties of the Llama module that hold for any weights.

use blip2_core::weights::{fingerprint, parameters};
use blip2_core::{LanguageModel, ModelError, TextExample};
use blip2_llm_adapters::{Architecture, Llama, LlamaConfig, conformance};
use burn::tensor::{Device, Tensor, TensorData};

fn config(tied: bool) -> LlamaConfig {
    LlamaConfig {
        architecture: Architecture::Llama,
        hidden_size: 24,
        intermediate_size: 40,
        layers: 2,
        heads: 6,
        key_heads: 2,
        head_width: 8,
        vocabulary_size: 50,
        positions: 160,
        norm_epsilon: 1e-5,
        rope_theta: 10_000.0,
        rope_factors: Vec::new(),
        tied,
    }
}

fn soft_prompt(model: &Llama, rows: usize, queries: usize) -> Tensor<3> {
    let shape = [rows, queries, model.hidden_size()];
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|index| (index as f32 * 1.3).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

#[test]
fn both_kinds_of_output_layer_conform() {
    for tied in [true, false] {
        let model = Llama::new(config(tied), 7, &Device::flex());
        assert_eq!(
            parameters(&model)
                .iter()
                .any(|parameter| parameter.path == "lm_head.weight"),
            !tied
        );
        conformance::check(&model, &Device::flex()).unwrap();
    }
}

/// Of a model of `architecture`, what Llama's own build has not, in the first layer.
fn more_than_llama(architecture: Architecture) -> Vec<String> {
    let config = LlamaConfig {
        architecture,
        ..config(false)
    };
    let model = Llama::new(config, 7, &Device::flex());
    conformance::check(&model, &Device::flex()).unwrap();
    parameters(&model)
        .into_iter()
        .filter_map(|parameter| Some(parameter.path.strip_prefix("layers.0.self_attn.")?.to_owned()))
        .filter(|path| path.ends_with(".bias") || path.contains("norm"))
        .collect()
}

#[test]
fn the_builds_with_biases_and_with_normalised_heads_conform() {
    assert_eq!(more_than_llama(Architecture::Llama), [""; 0]);
    assert_eq!(
        more_than_llama(Architecture::Qwen2),
        ["q_proj.bias", "k_proj.bias", "v_proj.bias"]
    );
    assert_eq!(
        more_than_llama(Architecture::Qwen3),
        ["q_norm.weight", "k_norm.weight"]
    );
}

#[test]
fn weights_stay_bit_identical_and_untracked_over_a_training_step() {
    let model = Llama::new(config(true), 1, &Device::flex().autodiff());
    let before = fingerprint(&model);
    let soft = soft_prompt(&model, 2, 3).autodiff().require_grad();
    let examples = vec![
        TextExample {
            prompt: vec![1],
            target: vec![2, 3]
        };
        2
    ];
    let loss = model.loss(soft.clone(), &examples).unwrap();
    assert!(soft.grad(&loss.backward()).is_some());
    assert_eq!(before, fingerprint(&model));
    assert!(!model.logits(soft.inner(), &examples).unwrap().is_autodiff());
}

#[test]
fn gradients_flow_through_decoding() {
    let model = Llama::new(config(true), 5, &Device::flex());
    let soft = soft_prompt(&model, 2, 3).autodiff().require_grad();
    let mut text = model.start(soft.clone(), &[vec![1, 2], vec![3]]).unwrap();
    text.advance(&[1, 0], &[4, 5]).unwrap();
    let loss = text.logits().narrow(0, 0, 1).narrow(1, 7, 1).sum();
    let gradient = soft.grad(&loss.backward()).unwrap();
    let largest = |row: usize| {
        gradient
            .clone()
            .narrow(0, row, 1)
            .abs()
            .max()
            .into_scalar::<f32>()
    };
    // The first row of the new text continues the second of the old one, and nothing else.
    assert!(largest(1) > 0.0);
    assert_eq!(largest(0), 0.0);
}

#[test]
fn text_that_outgrows_the_first_cache_agrees_with_reading_at_once() {
    let model = Llama::new(config(true), 2, &Device::flex());
    let soft = soft_prompt(&model, 2, 2);
    let written: Vec<u32> = (0..70).map(|step| (step * 7 + 3) % 50).collect();
    let prompts = [vec![1, 2, 3], vec![4]];
    let mut text = model.start(soft.clone(), &prompts).unwrap();
    for token in &written {
        text.advance(&[0, 1], &[*token, *token]).unwrap();
    }
    let steps = text.logits();
    for (row, prompt) in prompts.iter().enumerate() {
        let whole = TextExample {
            prompt: prompt.clone(),
            target: written.clone(),
        };
        let at_once = model.logits(soft.clone().narrow(0, row, 1), &[whole]).unwrap();
        let last = at_once.dims()[1] - 1;
        let at_once = at_once.narrow(1, last, 1).reshape([1, 50]);
        let apart: f32 = (steps.clone().narrow(0, row, 1) - at_once)
            .abs()
            .max()
            .into_scalar();
        assert!(apart < 1e-4, "row {row}: {apart}");
    }
}

#[test]
fn a_text_longer_than_the_positions_is_an_error() {
    let model = Llama::new(config(true), 3, &Device::flex());
    let long = |count| {
        model.loss(
            soft_prompt(&model, 1, 2),
            &[TextExample {
                prompt: vec![],
                target: vec![1; count],
            }],
        )
    };
    assert!(long(159).is_ok());
    assert!(matches!(
        long(160),
        Err(ModelError::Context {
            tokens: 161,
            limit: 160,
            ..
        })
    ));
    let mut text = model.start(soft_prompt(&model, 1, 2), &[vec![1; 157]]).unwrap();
    text.advance(&[0], &[1]).unwrap();
    assert!(matches!(
        text.advance(&[0], &[1]),
        Err(ModelError::Context { .. })
    ));
}

#[test]
fn nothing_to_read_is_an_error() {
    let model = Llama::new(config(true), 4, &Device::flex());
    let nothing = Tensor::zeros([1, 0, 24], &Device::flex());
    assert!(matches!(
        model.start(nothing.clone(), &[vec![]]),
        Err(ModelError::Invalid(_))
    ));
    let only = [TextExample {
        prompt: vec![],
        target: vec![1],
    }];
    assert!(matches!(
        model.loss(nothing.clone(), &only),
        Err(ModelError::Invalid(_))
    ));
    let mut without_soft_prompt = model.start(nothing, &[vec![1]]).unwrap();
    assert!(without_soft_prompt.advance(&[0], &[2]).is_ok());
}

#[test]
fn several_pictures_with_their_words_are_one_text() {
    let model = Llama::new(config(true), 5, &Device::flex());
    let pair = |prompt: &[u32], target: &[u32]| TextExample {
        prompt: prompt.to_vec(),
        target: target.to_vec(),
    };
    let examples = [
        pair(&[1], &[2, 3]),
        pair(&[], &[4]),
        pair(&[5, 6], &[7]),
        pair(&[8], &[9, 9]),
    ];
    let soft = soft_prompt(&model, 4, 3);
    let loss = |pairs| {
        let loss = model.interleaved_loss(soft.clone(), &examples, pairs).unwrap();
        loss.into_scalar::<f32>()
    };
    // What stands before counts: neither of the four alone, nor in twos as all together.
    let all = [loss(1), loss(2), loss(4)];
    assert!(
        all[0] != all[1] && all[1] != all[2] && all[0] != all[2],
        "{all:?}"
    );
    // Both texts of two, each by itself: their mean over tokens is that of both.
    let text = |first: usize| {
        let soft = soft.clone().narrow(0, first, 2);
        let loss = model
            .interleaved_loss(soft, &examples[first..first + 2], 2)
            .unwrap();
        loss.into_scalar::<f32>()
    };
    assert!((loss(2) - (text(0) + text(2)) / 2.0).abs() < 1e-5);
    let long = vec![pair(&[1; 40], &[2]); 4];
    assert!(matches!(
        model.interleaved_loss(soft, &long, 4),
        Err(ModelError::Context {
            tokens: 176,
            limit: 160,
            ..
        })
    ));
}
