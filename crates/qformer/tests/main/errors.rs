//! Input that a model cannot take: each kind has its own error, which names what was wrong.

use blip2_core::{Initializer, ModelError};
use blip2_qformer::{QFormer, QFormerConfig, TextBatch};
use burn::tensor::{Device, Tensor};

use crate::support::model;
use crate::tiny;

fn text(row: Vec<u32>) -> TextBatch {
    TextBatch::new(vec![row], &Device::flex()).expect("text")
}

#[test]
fn features_of_another_width() {
    let model = model();
    let features = Tensor::zeros([2, 7, 21], &Device::flex());
    for error in [
        model.image_context(features.clone()),
        model.qformer.image_context(features),
    ]
    .map(Result::unwrap_err)
    {
        let text = error.to_string();
        assert!(
            matches!(error, ModelError::Shape { ref actual, .. } if *actual == [2, 7, 21]),
            "{text}"
        );
        assert!(
            text.contains("[batch, patches, 20]") && text.contains("[2, 7, 21]"),
            "{text}"
        );
    }
}

#[test]
fn an_id_outside_of_the_vocabulary() {
    let model = model();
    let context = model
        .image_context(tiny::features(1, &Device::flex()))
        .expect("features");
    let images = model.qformer.query_pass(&context, 1);
    let bad = text(vec![1, 90]);
    let errors = [
        model.qformer.text_pass(&bad, None).err(),
        model.qformer.multimodal_pass(&context, &bad).err(),
        model.qformer.causal_pass(&images, &bad).err(),
        model.text_embeddings(&bad).err(),
        model.matching_logits(&context, &bad).err(),
    ];
    for error in errors {
        assert!(
            matches!(
                error,
                Some(ModelError::Vocabulary {
                    id: 90,
                    vocabulary: 90
                })
            ),
            "{error:?}"
        );
    }
    assert!(model.qformer.text_pass(&text(vec![1, 89]), None).is_ok());
}

#[test]
fn a_text_longer_than_the_positions() {
    let model = model();
    assert!(model.qformer.text_pass(&text(vec![1; 12]), None).is_ok());
    let error = model.qformer.text_pass(&text(vec![1; 13]), None).unwrap_err();
    assert!(
        matches!(
            error,
            ModelError::Context {
                tokens: 13,
                limit: 12,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_empty_text() {
    for rows in [vec![], vec![vec![]], vec![vec![1], vec![]]] {
        let place = rows.iter().position(Vec::is_empty).unwrap_or(0);
        let error = TextBatch::new(rows, &Device::flex()).unwrap_err();
        assert!(
            matches!(&error, ModelError::Invalid(text) if text.contains(&format!("text {place}"))),
            "{error}"
        );
    }
}

#[test]
fn text_for_a_q_former_of_stage_2() {
    let context = model()
        .image_context(tiny::features(1, &Device::flex()))
        .expect("features");
    let without = model().qformer.without_text();
    let images = without.query_pass(&context, 1);
    let errors = [
        without.text_pass(&text(vec![1]), None).err(),
        without.multimodal_pass(&context, &text(vec![1])).err(),
        without.causal_pass(&images, &text(vec![1])).err(),
    ];
    for error in errors {
        assert!(
            matches!(&error, Some(ModelError::Invalid(text)) if text.contains("no text branch")),
            "{error:?}"
        );
    }
}

#[test]
fn sizes_that_contradict_each_other() {
    let sound = tiny::config().qformer;
    let unsound = [
        (
            QFormerConfig {
                num_attention_heads: 5,
                ..sound.clone()
            },
            "num_attention_heads 5",
        ),
        (
            QFormerConfig {
                num_attention_heads: 0,
                ..sound.clone()
            },
            "num_attention_heads 0",
        ),
        (
            QFormerConfig {
                cross_attention_frequency: 0,
                ..sound.clone()
            },
            "cross_attention_frequency",
        ),
        (
            QFormerConfig {
                num_query_tokens: 0,
                ..sound.clone()
            },
            "at least one query",
        ),
        (
            QFormerConfig {
                num_hidden_layers: 0,
                ..sound
            },
            "one layer",
        ),
    ];
    for (config, reason) in unsound {
        let error = QFormer::new(&mut Initializer::new(0, &Device::flex()), &config, true).unwrap_err();
        assert!(
            matches!(&error, ModelError::Invalid(text) if text.contains(reason)),
            "{error}"
        );
    }
}
