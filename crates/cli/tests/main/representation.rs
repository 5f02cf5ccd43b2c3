//! What stage 1 knows: matches, embeddings, traces.

use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use serde_json::Value;

use crate::support::{EMBEDDING, Fixture, QUERIES, Stages, WIDTH, number};

const TEXTS: [&str; 3] = ["a dog", "two cats on a table", "!"];

fn read(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let data = SafetensorsStore::open(path).unwrap().read(name).unwrap();
    (data.shape().to_vec(), data.iter().collect())
}

fn score(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap()
}

fn matches(fixture: &Fixture, texts: &[&str]) -> Vec<Value> {
    fixture.records(&[&["match", "--model", "model", "red.png", "--text"], texts].concat())
}

#[test]
fn contrast_is_the_cosine_of_the_best_query() {
    let fixture = Fixture::new(Stages::First);
    fixture.stdout(&[
        "embed", "--model", "model", "red.png", "--mode", "image", "--out", "i",
    ]);
    fixture.stdout(
        &[
            &[
                "embed", "--model", "model", "--mode", "text", "--out", "t", "--text",
            ],
            &TEXTS[..],
        ]
        .concat(),
    );
    let (shape, images) = read(&fixture.path("i"), "image_embeds_proj");
    assert_eq!(shape, [1, QUERIES, EMBEDDING]);
    let (shape, texts) = read(&fixture.path("t"), "text_embeds_proj");
    assert_eq!(shape, [TEXTS.len(), EMBEDDING]);
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    for row in images.chunks(EMBEDDING).chain(texts.chunks(EMBEDDING)) {
        assert!(
            (cosine(row, row) - 1.0).abs() < 1e-5,
            "an embedding is not of unit length"
        );
    }
    let records = matches(&fixture, &TEXTS);
    for ((record, text), expected) in records.iter().zip(texts.chunks(EMBEDDING)).zip(TEXTS) {
        assert_eq!(record["text"], expected);
        assert_eq!(record["image"], "red.png");
        let best = images
            .chunks(EMBEDDING)
            .map(|query| cosine(query, text))
            .fold(-1.0, f64::max);
        assert!((score(record, "itc") - best).abs() < 1e-5, "{record}: {best}");
        assert!(
            (0.0..=1.0).contains(&score(record, "itm_probability")),
            "{record}"
        );
    }
    assert_ne!(
        score(&records[0], "itm_probability"),
        score(&records[1], "itm_probability")
    );
}

#[test]
fn many_texts_match_as_each_alone() {
    let fixture = Fixture::new(Stages::Both);
    let texts: Vec<String> = (0..70)
        .map(|count| format!("a dog {}", "dog ".repeat(count % 9)))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = matches(&fixture, &texts);
    assert_eq!(together.len(), texts.len());
    for index in [0, 8, 33, 69] {
        let alone = &matches(&fixture, &texts[index..=index])[0];
        for name in ["itm_probability", "itc"] {
            let (a, b) = (score(&together[index], name), score(alone, name));
            assert!((a - b).abs() < 1e-5, "{name} of text {index}: {a} and {b}");
        }
    }
}

#[test]
fn a_match_without_json_is_a_table() {
    let fixture = Fixture::new(Stages::First);
    let table = fixture.stdout(&["match", "--model", "model", "red.png", "--text", "a dog"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("itm") && lines[1].ends_with("a dog"), "{table}");
}

#[test]
fn embeddings_do_not_depend_on_the_batch() {
    let fixture = Fixture::new(Stages::First);
    for size in ["1", "2"] {
        let image = [
            "embed",
            "--model",
            "model",
            "red.png",
            "blue.png",
            "--batch-size",
            size,
        ];
        fixture.stdout(&[&image[..], &["--mode", "image", "--out", &format!("i{size}")]].concat());
        let pairs = [
            &image[..],
            &["--text", "a dog", "two cats", "--mode", "multimodal"],
        ]
        .concat();
        fixture.stdout(&[&pairs[..], &["--out", &format!("m{size}")]].concat());
    }
    for (kind, name) in [
        ("i", "image_embeds"),
        ("i", "image_embeds_proj"),
        ("m", "multimodal_embeds"),
    ] {
        let (shape, one) = read(&fixture.path(&format!("{kind}1")), name);
        let (_, two) = read(&fixture.path(&format!("{kind}2")), name);
        let width = if name.ends_with("proj") { EMBEDDING } else { WIDTH };
        assert_eq!(shape, [2, QUERIES, width]);
        let apart = one
            .iter()
            .zip(&two)
            .fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
        assert!(apart < 1e-4, "{name}: {apart}");
        let (first, second) = one.split_at(one.len() / 2);
        assert_ne!(first, second, "{name}: the pictures do not count");
    }
}

#[test]
fn text_states_come_with_a_mask() {
    let fixture = Fixture::new(Stages::First);
    fixture.stdout(
        &[
            &[
                "embed", "--model", "model", "--mode", "text", "--out", "t", "--text",
            ],
            &TEXTS[..],
        ]
        .concat(),
    );
    let (shape, mask) = read(&fixture.path("t"), "text_mask");
    let tokens = shape[1];
    assert_eq!(
        read(&fixture.path("t"), "text_embeds").0,
        [TEXTS.len(), tokens, WIDTH]
    );
    let real: Vec<f32> = mask.chunks(tokens).map(|row| row.iter().sum()).collect();
    assert!(
        real.contains(&(tokens as f32)) && real[2] == 2.0,
        "[CLS] and [SEP] alone are left of `!`: {real:?}"
    );
}

#[test]
fn a_trace_ends_in_the_logits_that_the_caption_begins_with() {
    let fixture = Fixture::new(Stages::Both);
    let prompt = "w5 w6 w7";
    fixture.stdout(&[
        "trace", "--model", "model", "red.png", "--prompt", prompt, "--out", "t",
    ]);
    let trace = fixture.path("t");
    let side = fixture.config.encoder.image_size.unwrap() as usize;
    let language_model = fixture.path("home/language-model/config.json");
    let (hidden, vocabulary) = (
        number(&language_model, "hidden_size"),
        number(&language_model, "vocab_size"),
    );
    assert_eq!(read(&trace, "pixel_values").0, [1, 3, side, side]);
    assert_eq!(
        read(&trace, "vision").0[2],
        fixture.config.representation.qformer.encoder_hidden_size
    );
    assert_eq!(read(&trace, "qformer").0, [1, QUERIES, WIDTH]);
    assert_eq!(read(&trace, "projected").0, [1, QUERIES, hidden]);
    let (shape, logits) = read(&trace, "logits");
    assert_eq!(shape, [1, QUERIES + 3, vocabulary]);
    // Behind the last query, and behind each word.
    let rows = logits.chunks(vocabulary).skip(QUERIES - 1);
    for (row, prompt) in rows.zip(["", "w5", "w5 w6", "w5 w6 w7"]) {
        let likeliest = (0..vocabulary)
            .max_by(|a, b| row[*a].total_cmp(&row[*b]))
            .unwrap();
        let arguments = [
            "caption",
            "--model",
            "model",
            "red.png",
            "--prompt",
            prompt,
            "--num-beams",
            "1",
        ];
        // An end may not come first in a caption, unless it is asked for.
        let caption = &fixture.records(&[&arguments[..], &["--min-length", "0"]].concat())[0];
        assert_eq!(caption["ids"][0], likeliest, "prompt `{prompt}`");
    }
}

#[test]
fn a_trace_of_stage_one_ends_at_the_queries() {
    let fixture = Fixture::new(Stages::First);
    fixture.stdout(&["trace", "--model", "model", "red.png", "--out", "t"]);
    fixture.stdout(&[
        "embed", "--model", "model", "red.png", "--mode", "image", "--out", "i",
    ]);
    let store = SafetensorsStore::open(&fixture.path("t")).unwrap();
    assert_eq!(
        store.tensors().keys().collect::<Vec<_>>(),
        ["pixel_values", "qformer", "vision"]
    );
    assert_eq!(
        read(&fixture.path("t"), "qformer"),
        read(&fixture.path("i"), "image_embeds")
    );
}
