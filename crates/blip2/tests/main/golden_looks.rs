//! Where the queries look, and for which words, against `transformers` (`tests/peer/golden_looks.py`).

use blip2::Blip2Error;
use blip2_golden::{Check, TensorFile, each, find, json, tolerance};

use crate::support::{load, picture};

const CASES: &str = "looks/cases.json";
const EXPECTED: &str = "looks/expected.safetensors";

#[test]
fn the_queries_look_where_those_of_the_reference_do() {
    let Some(cases) = json(CASES) else { return };
    let expected = TensorFile::open(EXPECTED);
    each(cases.as_array().unwrap().iter().enumerate(), |(number, case)| {
        let folder = find(case["model"].as_str().unwrap()).unwrap();
        let (blip2, picture) = (load(&folder).unwrap(), picture(&folder, &case["image"]));
        let text = case["text"].as_str().unwrap();
        let mut check = Check::new(EXPECTED);
        for (kind, text) in [("alone", None), ("beside", Some(text))] {
            let recorded = layers(&expected, number, kind);
            if recorded.is_empty() {
                continue;
            }
            let looks = blip2.looks(&picture, text, None).unwrap();
            let found: Vec<usize> = looks.layers.iter().map(|look| look.layer).collect();
            check.identical(&format!("layers {kind}/{number}"), &found, &recorded);
            for look in looks.layers {
                let recorded = expected.array(&format!("{number}.{kind}.{}", look.layer));
                let (layer, found) = (look.layer, look.queries.concat());
                assert_eq!(
                    recorded.shape,
                    [look.queries.len(), looks.grid[0] * looks.grid[1]]
                );
                check.close(
                    &format!("{kind}/{number}.{layer}"),
                    &found,
                    &recorded.values,
                    tolerance::FEATURES,
                );
            }
        }
    });
}

#[test]
fn what_speaks_for_a_match_is_that_of_the_reference() {
    let Some(cases) = json(CASES) else { return };
    let expected = TensorFile::open(EXPECTED);
    each(cases.as_array().unwrap().iter().enumerate(), |(number, case)| {
        let folder = find(case["model"].as_str().unwrap()).unwrap();
        let (blip2, picture) = (load(&folder).unwrap(), picture(&folder, &case["image"]));
        let text = case["text"].as_str().unwrap();
        if !blip2.has_representation() {
            let refused = blip2.word_looks(&picture, text, None).unwrap_err();
            assert!(matches!(refused, Blip2Error::Untrained { .. }), "{refused}");
            return;
        }
        let mut check = Check::new(EXPECTED);
        for layer in layers(&expected, number, "image") {
            let looks = blip2.word_looks(&picture, text, Some(layer)).unwrap();
            let image = expected.array(&format!("{number}.image.{layer}"));
            let taken = expected.array(&format!("{number}.text.{layer}"));
            check.close(
                &format!("image/{number}.{layer}"),
                &looks.queries.concat(),
                &image.values,
                tolerance::GRADIENT,
            );
            // The map of each token of the reference; between [CLS] and [SEP], words are made of them.
            let [queries, patches] = image.shape[..] else {
                unreachable!()
            };
            let tokens = taken.shape[1];
            let map = |token: usize, patch: usize| -> f64 {
                (0..queries)
                    .map(|query| taken.values[query * tokens + token] * image.values[query * patches + patch])
                    .sum()
            };
            let all = |patch| (1..tokens - 1).map(|token| map(token, patch)).sum::<f64>();
            let sums: Vec<f64> = (0..patches).map(all).collect();
            let found: Vec<f32> = (0..patches)
                .map(|patch| looks.words.iter().map(|word| word.weights[patch]).sum())
                .collect();
            check.close(
                &format!("words/{number}.{layer}"),
                &found,
                &sums,
                tolerance::GRADIENT,
            );
            let first: Vec<f64> = (0..patches).map(|patch| map(1, patch)).collect();
            if looks.words.len() == tokens - 2 {
                check.close(
                    &format!("first word/{number}.{layer}"),
                    &looks.words[0].weights,
                    &first,
                    tolerance::GRADIENT,
                );
            }
            let words: Vec<&str> = looks.words.iter().map(|word| word.word.as_str()).collect();
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(letters(&words.concat()), letters(text));
        }
    });
}

/// The layers that `kind` was recorded of.
fn layers(expected: &TensorFile, number: usize, kind: &str) -> Vec<usize> {
    let start = format!("{number}.{kind}.");
    let layer = |name: &String| name.strip_prefix(&start)?.parse().ok();
    let mut layers: Vec<usize> = expected.names().iter().filter_map(layer).collect();
    layers.sort();
    layers
}
