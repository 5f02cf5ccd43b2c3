//! The evaluators that measure on the way what `blip2 evaluate` measures at the end.

use blip2::{GenerationConfig, HuggingFaceFolder, answer_settings};
use blip2_core::VisionEncoder;
use blip2_data::text::BertTokenizer;
use blip2_evaluation::retrieval::Captions;
use blip2_golden::{fixture, models};
use blip2_llm_adapters::load_language_model;
use blip2_qformer::{QFormerConfig, RepresentationConfig, TextBatch, best_query};
use blip2_trainer::{
    Evaluator, FeatureSource, HeldOut, HeldOutRetrieval, HeldOutTexts, Row, TrainError, tokenise,
};
use burn::tensor::{Device, Int, Tensor};

use crate::tiny;

/// Features by the index of a row.
struct Given(Tensor<3>);

impl FeatureSource for Given {
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        let rows: Vec<i64> = rows.iter().map(|row| row.index as i64).collect();
        let rows = Tensor::<1, Int>::from_data(rows.as_slice(), device);
        Ok(self.0.clone().select(0, rows))
    }
}

fn row(index: u64, text: &str) -> Row {
    Row {
        index,
        text: text.to_owned(),
        ..Row::default()
    }
}

#[test]
fn retrieval_on_the_way_is_that_of_every_pair_by_itself() {
    let device = Device::flex();
    let tokenizer = BertTokenizer::from_file(&fixture("lavis/bert-vocab.txt")).expect("a vocabulary");
    let config = RepresentationConfig {
        qformer: QFormerConfig {
            vocab_size: tokenizer.vocabulary_size(),
            max_position_embeddings: 20,
            ..tiny::config().qformer
        },
        ..tiny::config()
    };
    let model = tiny::model(&config, &device);
    let features = tiny::features(20, &device);
    let source = Given(features.clone());
    // Picture 3 has two captions, one of them behind the others.
    let mut rows: Vec<Row> = (0..20)
        .map(|index| row(index, &format!("picture {index} of a dog, a red bus and a man")))
        .collect();
    rows.push(Row {
        image_id: Some("three".to_owned()),
        ..row(20, "two cats")
    });
    rows[3].image_id = Some("three".to_owned());
    let mut evaluator = HeldOutRetrieval {
        samples: HeldOut {
            name: "ranks".to_owned(),
            every: 5,
            rows: rows.clone(),
            features: &source,
            device: device.clone(),
        },
        tokenizer: &tokenizer,
        max_text_tokens: 12,
        candidates: 128,
    };
    let found = evaluator.evaluate(&model, 1).expect("figures");

    let texts = rows.iter().map(|row| row.text.as_str());
    let texts = TextBatch::new(tokenise(&tokenizer, texts, 12).expect("tokens"), &device).expect("texts");
    let context = model.image_context(features).expect("features");
    let similarities = best_query(
        model.embed_images(&context),
        model.text_embeddings(&texts).expect("texts"),
    );
    let similarities: Vec<f32> = similarities.into_data().iter().collect();
    let scores: Vec<Vec<f32>> = (0..20)
        .map(|image| {
            let logits = model
                .matching_logits(&context.select(&[image; 21]), &texts)
                .expect("logits");
            let logits = logits.narrow(1, 1, 1).into_data();
            let own = similarities[image * 21..].iter();
            logits
                .iter::<f32>()
                .zip(own)
                .map(|(logit, own)| logit + own)
                .collect()
        })
        .collect();
    let transposed: Vec<Vec<f32>> = (0..21)
        .map(|text| scores.iter().map(|row| row[text]).collect())
        .collect();
    let image_of = (0..20).chain([3]).collect();
    let captions = Captions::new(20, image_of).expect("a gallery");
    let expected = captions.both_ways(&scores, &transposed).expect("figures").named();
    assert_eq!(found, expected.map(|(name, figure)| (name.to_owned(), figure)));
    // A gallery that tells nothing apart would prove nothing.
    assert!(
        found.iter().any(|(_, figure)| *figure > 0.0 && *figure < 100.0),
        "{found:?}"
    );

    evaluator.candidates = 0;
    assert_eq!(evaluator.evaluate(&model, 1).expect("figures").len(), 10);
    evaluator.samples.rows.clear();
    assert!(evaluator.evaluate(&model, 1).is_err());
}

#[test]
fn texts_on_the_way_are_right_where_they_say_the_truth() {
    let device = Device::flex();
    let found = models("Blip2ForConditionalGeneration");
    let Some(whole) = found.first() else { return };
    let folder = HuggingFaceFolder::open(&whole.path).expect("a folder");
    let (bridge, encoder) = (
        folder.bridge(&device).expect("stage 2"),
        folder.encoder(&device).expect("an encoder"),
    );
    let language_model = load_language_model(&whole.path, &device).expect("a language model");
    let pixels = whole.expected().tensor("0.pixel_values");
    let source = Given(encoder.encode(pixels).expect("features"));
    let mut evaluator = HeldOutTexts {
        samples: HeldOut {
            name: "answers".to_owned(),
            every: 0,
            rows: vec![row(0, "nothing of the kind")],
            features: &source,
            device: device.clone(),
        },
        language_model: &language_model,
        prompt: "Question: what is it? Answer:",
        settings: GenerationConfig {
            num_beams: 2,
            ..answer_settings()
        },
    };
    let figure = |found: &[(String, f64)], name: &str| {
        let found = found.iter().find(|(own, _)| own == name);
        found.expect("a figure of this name").1
    };
    let wrong = evaluator.evaluate(&bridge, 1).expect("figures");
    assert_eq!(figure(&wrong, "exact"), 0.0);

    let features = source
        .features(&evaluator.samples.rows, &device)
        .expect("features");
    let prompt = language_model
        .tokenizer
        .encode_prompt(evaluator.prompt)
        .expect("tokens");
    let written = blip2::write_captions(&bridge, &language_model, features, &[prompt], &evaluator.settings);
    evaluator.samples.rows[0].text = written.expect("an answer")[0].text.clone();
    let right = evaluator.evaluate(&bridge, 1).expect("figures");
    assert_eq!((figure(&right, "exact"), figure(&right, "f1")), (1.0, 1.0));
    // The mean of nothing would be NaN.
    evaluator.samples.rows.clear();
    let error = evaluator.evaluate(&bridge, 1).expect_err("nothing to measure on");
    assert!(error.to_string().contains("answers"), "{error}");
}
