//! Losses and gradients do not depend on how many threads there are, at sizes where the kernels use them.

use std::collections::BTreeMap;

use blip2_core::Initializer;
use blip2_kernels::{Products, with_products};
use blip2_objectives::{NegativeSource, Negatives, RepresentationOptions, representation_loss};
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch};
use burn::tensor::{Device, Tensor, TensorData};

use crate::gradients::gradients;

const BATCH: usize = 6;
const IMAGE: [usize; 2] = [96, 160];

fn config() -> RepresentationConfig {
    RepresentationConfig {
        qformer: QFormerConfig {
            hidden_size: 256,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 1024,
            encoder_hidden_size: IMAGE[1],
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            ..QFormerConfig::default()
        },
        ..RepresentationConfig::default()
    }
}

/// The three losses and every gradient, by name.
fn step(products: Products) -> BTreeMap<String, Vec<f32>> {
    let device = Device::flex().autodiff();
    let model = RepresentationModel::new(&mut Initializer::new(3, &device), &config()).unwrap();
    let values = BATCH * IMAGE[0] * IMAGE[1];
    let values: Vec<f32> = (0..values).map(|index| (0.37 * index as f32).sin()).collect();
    let features: Tensor<3> =
        Tensor::from_data(TensorData::new(values, [BATCH, IMAGE[0], IMAGE[1]]), &device);
    let text = |row: u32| {
        (0..8 + row)
            .map(|place| 103 + (row * 31 + place * 17) % 2000)
            .collect()
    };
    let texts = TextBatch::new((0..BATCH as u32).map(text).collect(), &device).unwrap();
    let next: Vec<usize> = (0..BATCH).map(|row| (row + 1) % BATCH).collect();
    let negatives = NegativeSource::Given(Negatives {
        images: next.clone(),
        texts: next,
    });
    let options = RepresentationOptions::default();
    let loss = with_products(products, || {
        representation_loss(&model, features, &texts, &options, negatives).unwrap()
    });
    let mut all: BTreeMap<String, Vec<f32>> = gradients(&model, &loss.terms.total().unwrap().backward())
        .into_iter()
        .filter_map(|(name, gradient)| Some((format!("gradient of {name}"), gradient?)))
        .collect();
    let terms = loss.terms.iter();
    all.extend(terms.map(|term| (term.name.to_owned(), vec![term.value.clone().into_scalar()])));
    all
}

#[test]
fn any_number_of_threads_gives_the_same_losses_and_gradients() {
    for products in [Products::F32, Products::Bf16] {
        let steps = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| step(products))
        });
        let [alone, rest @ ..] = &steps;
        assert!(alone.len() > 40, "{} values were compared", alone.len());
        for several in rest {
            for (name, expected) in alone {
                let largest = expected
                    .iter()
                    .fold(0.0, |most: f32, value| most.max(value.abs()));
                let furthest = several[name].iter().zip(expected);
                let furthest = furthest.fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
                // The gradient of a key's bias is rounding alone.
                assert!(
                    furthest <= 1e-5 * largest || name.ends_with("key.bias"),
                    "{name} with {products:?}: {furthest:e} off, the largest is {largest:e}"
                );
            }
        }
    }
}
