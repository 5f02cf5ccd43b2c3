//! LAVIS's retrieval in two stages (`retrieval`): given features and matching logits, and whole models from pixels and texts.

use std::collections::BTreeSet;

use blip2_core::weights::{LoadOptions, SafetensorsStore, TensorStore, load};
use blip2_core::{Initializer, VisionEncoder};
use blip2_data::text::{BertTokenizer, Padding};
use blip2_evaluation::retrieval::{Captions, Reranking};
use blip2_golden::{Array, Check, TensorFile, device, each, find, json, tolerance};
use blip2_qformer::{
    LAVIS_REPRESENTATION, QFormerConfig, RepresentationConfig, RepresentationModel, best_query, unit_length,
};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use serde_json::Value;

fn count(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("no count: {value}")) as usize
}

/// The cases of `kind`.
fn cases(kind: &str) -> Vec<Value> {
    let Some(recorded) = json("retrieval/cases.json") else {
        return Vec::new();
    };
    let cases = recorded["cases"].as_array().expect("cases").clone();
    cases.into_iter().filter(|case| case["kind"] == kind).collect()
}

fn name(case: &Value) -> &str {
    case["name"].as_str().expect("a name")
}

fn rows(matrix: &Array) -> Vec<Vec<f32>> {
    let row = |row: &[f64]| row.iter().map(|value| *value as f32).collect();
    matrix.values.chunks(matrix.shape[1]).map(row).collect()
}

/// The matching logits of the pairs that are asked for, out of those of all pairs.
fn asked(reranking: &Reranking, logits: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let of = |(texts, logits): (&Vec<usize>, &Vec<f32>)| texts.iter().map(|text| logits[*text]).collect();
    reranking.pairs().iter().zip(logits).map(of).collect()
}

/// The rows whose last candidate is as similar as one that is none: which of them is taken is nobody's rule.
fn arbitrary(case: &Value, direction: &str) -> BTreeSet<usize> {
    let listed = case["rows_with_a_tie_at_the_cut"][direction].as_array();
    listed.into_iter().flatten().map(count).collect()
}

/// Compares the scores of both ways with those that were recorded.
fn compare(check: &mut Check, case: &Value, scores: &[Vec<Vec<f32>>; 2], recorded: [Array; 2], near: f64) {
    // The ranks of LAVIS fill their rows in matrices of -100, which are then added up.
    let ranks = case["world_size"].as_f64().unwrap_or(1.0);
    let shift = (ranks - 1.0) as f32 * -100.0;
    for ((direction, scores), recorded) in ["i2t", "t2i"].into_iter().zip(scores).zip(recorded) {
        let free = arbitrary(case, direction);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (row, (own, expected)) in scores.iter().zip(rows(&recorded)).enumerate() {
            let expected = expected.into_iter().map(|score| score - shift);
            if free.contains(&row) {
                // As many are re-ranked, whichever they are.
                let above = |scores: &[f32]| scores.iter().filter(|score| **score > -99.0).count() as f32;
                let expected: Vec<f32> = expected.collect();
                ours.push(above(own));
                theirs.push(above(&expected));
            } else {
                ours.extend(own);
                theirs.extend(expected);
            }
        }
        let what = format!("score_{direction}/{}", name(case));
        check.absolute(&what, &ours, &theirs, near * ranks);
    }
}

#[test]
fn given_features_are_reranked_as_by_the_original() {
    if find("retrieval").is_none() {
        return;
    }
    let tensors = TensorFile::open("retrieval/cases.safetensors");
    each(cases("rerank"), |case| {
        let mut check = Check::new("retrieval");
        let at = |tensor: &str| format!("{}.{tensor}", name(&case));
        let images = unit_length(tensors.tensor::<3>(&at("image_features")));
        let texts = unit_length(tensors.tensor::<2>(&at("text_features")));
        let recorded = tensors.array(&at("sims"));
        let what = format!("sims/{}", name(&case));
        check.close(&what, &best_query(images, texts), &recorded, tolerance::FEATURES);

        let reranking = Reranking::new(rows(&recorded), count(&case["k_test"])).expect("similarities");
        let logits = rows(&tensors.array(&at("itm_logits")));
        let scores = reranking.scores(&asked(&reranking, &logits)).expect("scores");
        let recorded = ["score_i2t", "score_t2i"].map(|scores| tensors.array(&at(scores)));
        compare(&mut check, &case, &scores, recorded, tolerance::MATCH);
    });
}

/// Encoder and stage-1 model of a recorded folder.
fn model(sizes: &Value, folder: &str) -> (VisionTransformer, RepresentationModel) {
    let path = find(&format!("{folder}/weights.safetensors")).expect("weights");
    let weights = SafetensorsStore::open(&path).expect("safetensors");
    let kind = folder.rsplit_once('-').expect("model-KIND").1;
    let vit = &sizes["vit"];
    let encoder = VisionTransformerConfig {
        layer_norm_eps: vit[kind]["layer_norm_eps"].as_f64().expect("epsilon"),
        ..VisionTransformerConfig::of_lavis(&weights, count(&vit["heads"])).expect("encoder")
    };
    let encoder = VisionTransformer::from_lavis(&weights, &encoder, &device()).expect("encoder");
    let shape = |name: &str| weights.tensors()[name].shape.clone();
    let config = RepresentationConfig {
        qformer: QFormerConfig {
            num_query_tokens: shape("query_tokens")[1],
            encoder_hidden_size: shape("ln_vision.weight")[0],
            vocab_size: shape("Qformer.bert.embeddings.word_embeddings.weight")[0],
            ..serde_json::from_value(sizes["qformer"].clone()).expect("sizes")
        },
        embedding_size: shape("vision_proj.weight")[0],
        vision_layer_norm_eps: sizes["ln_vision_eps"].as_f64().expect("epsilon"),
    };
    let model = RepresentationModel::new(&mut Initializer::new(0, &device()), &config).expect("model");
    let model = load(model, &weights, &LAVIS_REPRESENTATION, LoadOptions::default());
    (encoder, model.expect("weights"))
}

#[test]
fn whole_models_retrieve_as_the_original() {
    each(cases("model"), |case| {
        let folder = format!("retrieval/{}", name(&case));
        let sizes = json("retrieval/config.json").expect("sizes");
        let vocabulary = find("retrieval/bert-vocab.txt").expect("a vocabulary");
        let (encoder, model) = model(&sizes, &folder);
        let io = TensorFile::open(&format!("{folder}/io.safetensors"));
        let mut check = Check::new(&folder);

        let given = case["texts_given"].as_array().expect("texts").iter();
        let given: Vec<&str> = given.map(|text| text.as_str().expect("a text")).collect();
        let tokenizer = BertTokenizer::from_file(&vocabulary).expect("a vocabulary");
        let length = count(&sizes["eval_max_txt_len"]);
        let batch = tokenizer
            .encode(&given, length, Padding::MaxLength)
            .expect("tokens");
        check.identical("input_ids", &batch.ids, &io.ids("input_ids"));
        let texts = io.texts("input_ids", "attention_mask");
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let recorded = case["token_lengths"].as_array().expect("lengths").iter();
        check.identical(
            "token_lengths",
            &lengths,
            &recorded.map(count).collect::<Vec<_>>(),
        );

        let near = tolerance::FEATURES;
        let features = encoder.encode(io.tensor("image")).expect("features");
        let context = model.image_context(features).expect("features");
        let images = model.embed_images(&context);
        check.close("image_feats", &images, &io.array("image_feats"), near);
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let embedded = model.embed_texts(&texts).expect("texts");
        check.close("text_feat", &embedded, &io.array("text_feat"), near);
        let similarities = best_query(images, embedded);
        check.close("sims", &similarities, &io.array("sims"), near);

        let logits: Vec<Vec<f32>> = (0..context.images())
            .map(|image| {
                model
                    .match_image(&context.select(&[image]), &texts)
                    .expect("logits")
            })
            .collect();
        let recorded = io.array("itm_logits");
        check.close("itm_logits", &logits.concat(), &recorded.values, near);

        let near = near * recorded.largest();
        let similarities = similarities.into_data();
        let ours = Array {
            shape: vec![logits.len(), texts.len()],
            values: similarities.iter::<f64>().collect(),
        };
        let reranking = Reranking::new(rows(&ours), count(&case["k_test"])).expect("similarities");
        let scores = reranking.scores(&asked(&reranking, &logits)).expect("scores");
        let recorded = ["score_i2t", "score_t2i"].map(|scores| io.array(scores));
        compare(&mut check, &case, &scores, recorded, near);

        // The ranks from pixels on are those of the recorded scores.
        let image_of = case["txt2img"]
            .as_array()
            .expect("images")
            .iter()
            .map(count)
            .collect();
        let captions = Captions::new(logits.len(), image_of).expect("texts of the gallery");
        let recorded = ["score_i2t", "score_t2i"].map(|scores| rows(&io.array(scores)));
        let ours = captions
            .both_ways(&scores[0], &scores[1])
            .expect("figures")
            .named();
        let theirs = captions
            .both_ways(&recorded[0], &recorded[1])
            .expect("figures")
            .named();
        check.identical("figures", &ours, &theirs);
    });
}
