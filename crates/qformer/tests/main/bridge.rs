//! The bridge of stage 2: what it takes over from stage 1, and how much of it is trained.

use std::collections::BTreeMap;

use blip2_core::weights::{collect, parameters};
use blip2_core::{Initializer, ModelError};
use blip2_qformer::{Bridge, QFormer, QFormerConfig};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};

use crate::tiny;

/// Parameters of the bridge between an encoder and a language model of these widths, from shapes alone.
fn trainable(encoder: usize, language_model: usize) -> usize {
    let config = QFormerConfig {
        encoder_hidden_size: encoder,
        ..QFormerConfig::default()
    };
    let mut initializer = Initializer::new(0, &Device::flex().autodiff());
    let bridge = Bridge::new(&mut initializer, &config, 1e-5, language_model).expect("sizes");
    parameters(&bridge)
        .iter()
        .map(|parameter| parameter.shape.iter().product::<usize>())
        .sum()
}

#[test]
fn stage_2_trains_as_many_parameters_as_the_reference() {
    assert_eq!(trainable(1408, 2560), 107_133_696, "ViT-g, OPT-2.7B");
    assert_eq!(
        trainable(1408, 4096),
        108_314_880,
        "ViT-g, OPT-6.7B and FlanT5-XXL"
    );
    assert_eq!(trainable(1408, 2048), 106_739_968, "ViT-g, FlanT5-XL");
    assert_eq!(trainable(1024, 2560), 103_593_984, "ViT-L, OPT-2.7B");
    assert_eq!(trainable(1024, 2048), 103_200_256, "ViT-L, FlanT5-XL");
}

#[test]
fn the_bridge_takes_stage_1_over_and_projects_its_queries() {
    let device = Device::flex();
    let model = tiny::model(&tiny::config(), &device);
    let features = tiny::features(2, &device);
    let before: BTreeMap<_, _> = collect(&model).into_iter().collect();
    let context = model.image_context(features.clone()).expect("features");
    let queries = model.qformer.query_pass(&context, 2).hidden;

    let bridge = Bridge::from_representation(&mut Initializer::new(5, &device), model, 16);
    let mut kept = 0;
    for (path, data) in collect(&bridge)
        .into_iter()
        .filter(|(path, _)| !path.starts_with("projection."))
    {
        assert_eq!(data.as_bytes(), before[&path].as_bytes(), "{path}");
        assert!(!path.contains("text"), "{path} belongs to stage 1 alone");
        kept += 1;
    }
    let needed = before
        .keys()
        .filter(|path| !path.contains("text") && path.starts_with("qformer."))
        .count();
    assert_eq!(
        kept,
        needed + 2,
        "the Q-Former without its text, and the layer norm of the features"
    );

    let prompt = bridge.soft_prompt(features).expect("features");
    let expected = bridge.projection.forward(queries);
    assert_eq!(prompt.dims(), [2, tiny::config().qformer.num_query_tokens, 16]);
    assert_eq!((prompt - expected).abs().max().into_scalar::<f32>(), 0.0);
}

/// The Q-Former with all of its layer norms' weights multiplied by `factor`.
fn stretched(qformer: QFormer, factor: f32) -> QFormer {
    struct Stretch(Vec<String>, f32);
    impl ModuleMapper for Stretch {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }

        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match self.0.join(".").ends_with("norm.weight") {
                true => parameter.map(|values| values * self.1),
                false => parameter,
            }
        }
    }
    qformer.map(&mut Stretch(Vec::new(), factor))
}

/// Standard deviation over all values.
fn deviation(tensor: Tensor<3>) -> f64 {
    let values: Vec<f64> = tensor.into_data().iter::<f32>().map(f64::from).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

#[test]
fn a_fresh_soft_prompt_has_the_scale_of_the_words_behind_it() {
    let device = Device::flex();
    let features = || tiny::features(4, &device);
    // The word embeddings of Qwen2.5-0.5B, SmolLM2-135M, and a FlanT5.
    for (hidden_size, wanted) in [(896, 0.017), (576, 0.136), (2048, 11.0)] {
        for width in [16, 32, 64] {
            let config = QFormerConfig {
                hidden_size: width,
                ..tiny::config().qformer
            };
            let mut initializer = Initializer::new(5, &device);
            let mut bridge = Bridge::new(&mut initializer, &config, 1e-5, hidden_size).expect("sizes");
            // As after training: query states of another scale than a fresh normalisation gives.
            bridge.qformer = stretched(bridge.qformer, width as f32 / 32.0);
            let bridge = bridge
                .with_projection_at_scale(&mut initializer, features(), wanted)
                .expect("features");
            let prompt = bridge.soft_prompt(features()).expect("features");
            // What all queries and images share is taken off.
            let shared = deviation(prompt.clone().mean_dim(0).mean_dim(1));
            assert!(
                shared < 1e-4 * wanted,
                "{width} to {hidden_size}: {shared} is shared"
            );
            let found = deviation(prompt);
            assert!(
                (found / wanted - 1.0).abs() < 0.05,
                "{width} to {hidden_size}: {found} instead of {wanted}"
            );
        }
    }
}

#[test]
fn a_projection_to_words_reads_them_off_the_queries() {
    let device = Device::flex();
    let (images, hidden_size, wanted) = (48, 40, 0.136);
    let config = tiny::config().qformer;
    let mut initializer = Initializer::new(5, &device);
    let bridge = Bridge::new(&mut initializer, &config, 1e-5, hidden_size).expect("sizes");
    let features = || tiny::features(images, &device);
    let states = bridge
        .query_states(bridge.normalise(features()).expect("sizes"), None)
        .expect("sizes");
    // Words that a linear map tells from the mean of the states, with a mean of their own.
    let map = Tensor::<2>::random(
        [config.hidden_size, hidden_size],
        Distribution::Normal(0.0, 0.02),
        &device,
    );
    let told = states
        .clone()
        .mean_dim(1)
        .reshape([images, config.hidden_size])
        .matmul(map)
        + 0.25;
    let bridge = bridge
        .with_projection_to_words(&mut initializer, states.clone(), told.clone(), wanted)
        .expect("samples");
    let prompt = bridge.soft_prompt(features()).expect("features");
    let mean = |x: Tensor<2>| x.mean_dim(0);
    let read = prompt.clone().mean_dim(1).reshape([images, hidden_size]);
    let (read_mean, told_mean) = (mean(read.clone()), mean(told.clone()));
    let shift = deviation((read_mean.clone() - told_mean.clone()).unsqueeze());
    assert!(shift < 1e-4, "the mean is that of the words: {shift}");
    let (read, told) = (read - read_mean.clone(), told - told_mean);
    let along = (read.clone() * told.clone()).sum().into_scalar::<f32>();
    let cosine = along
        / (read.square().sum() * told.square().sum())
            .into_scalar::<f32>()
            .sqrt();
    assert!(cosine > 0.8, "{cosine}");
    let found = deviation(prompt - read_mean.unsqueeze());
    // Random weights stand beside.
    assert!(
        (0.95..1.2).contains(&(found / wanted)),
        "{found} instead of {wanted}"
    );

    // Of which rounding leaves differences.
    let same = Tensor::<2>::ones([images, hidden_size], &device) * 0.1;
    let bridge = Bridge::new(&mut initializer, &config, 1e-5, hidden_size).expect("sizes");
    let error = bridge
        .clone()
        .with_projection_to_words(&mut initializer, states.clone(), same, wanted);
    assert!(error.unwrap_err().to_string().contains("nothing of the words"));
    let few = Tensor::<2>::ones([images - 1, hidden_size], &device);
    let error = bridge
        .with_projection_to_words(&mut initializer, states, few, wanted)
        .unwrap_err();
    assert!(
        matches!(&error, ModelError::Shape { actual, .. } if *actual == [images - 1, hidden_size]),
        "{error}"
    );
}

#[test]
fn features_of_another_encoder_are_refused() {
    let device = Device::flex();
    let config = tiny::config().qformer;
    let bridge = Bridge::new(&mut Initializer::new(5, &device), &config, 1e-5, 16).expect("sizes");
    let error = bridge
        .soft_prompt(Tensor::zeros([1, 7, 21], &device))
        .unwrap_err();
    assert!(
        matches!(&error, ModelError::Shape { actual, .. } if *actual == [1, 7, 21]),
        "{error}"
    );
}
