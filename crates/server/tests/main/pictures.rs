//! Captions, matches, embeddings, attention: and pictures that are none.

use std::slice::from_ref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blip2::GenerationConfig;
use blip2_server::Keys;
use serde_json::{Value, json};

use crate::support::{NAME, OPT, RETRIEVAL, Running, T5, data_url, load, picture};

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
    }
}

#[test]
fn captions_are_the_models_own() {
    for folder in [OPT, T5] {
        let (server, model) = (Running::new(folder, |_| {}), load(folder));
        for (prompt, count, beams) in [(None, 1, None), (Some("a photo of"), 2, Some(3))] {
            let mut body = json!({"image": data_url(1), "num_captions": count});
            let mut settings = GenerationConfig {
                num_return_sequences: count,
                ..model.caption_settings().clone()
            };
            if let Some(beams) = beams {
                body["num_beams"] = json!(beams);
                settings.num_beams = beams;
            }
            settings.num_beams = settings.num_beams.max(count);
            if let Some(prompt) = prompt {
                body["prompt"] = json!(prompt);
            }
            let prompt = prompt.unwrap_or(model.caption_prompt()).to_owned();
            let own = model
                .caption(from_ref(&picture(1)), &[prompt], &settings)
                .unwrap();
            let answer = server.ask("/v1/caption", &body);
            let captions = answer["captions"].as_array().unwrap();
            assert_eq!(captions.len(), count);
            for (caption, own) in captions.iter().zip(own) {
                assert_eq!(
                    (&caption["text"], &caption["ids"]),
                    (&json!(own.text), &json!(own.ids)),
                    "{folder}"
                );
                near(&[caption["score"].as_f64().unwrap()], &[own.score]);
            }
        }
    }
}

#[test]
fn matches_are_the_models_own() {
    let (server, model) = (Running::new(RETRIEVAL, |_| {}), load(RETRIEVAL));
    let texts = ["a cat".to_owned(), "two apples above a bicycle".to_owned()];
    let own = model.match_texts(&picture(1), &texts).unwrap();
    let answer = server.ask("/v1/match", &json!({"image": data_url(1), "texts": texts}));
    for (found, (own, text)) in answer["matches"]
        .as_array()
        .unwrap()
        .iter()
        .zip(own.iter().zip(&texts))
    {
        assert_eq!(found["text"], *text);
        near(
            &[found["itm_probability"].as_f64().unwrap()],
            &[own.itm_probability],
        );
        near(&[found["itc"].as_f64().unwrap()], &[own.itc]);
    }
    for texts in [json!([]), json!("a cat"), json!([1]), json!(vec!["a"; 1000])] {
        let body = json!({"image": data_url(1), "texts": texts});
        assert_eq!(server.refused("/v1/match", &body).0, 400);
    }
}

#[test]
fn vectors_are_the_models_own_in_both_encodings() {
    let (server, model) = (Running::new(RETRIEVAL, |_| {}), load(RETRIEVAL));
    let texts = ["a cat".to_owned(), "a bicycle".to_owned()];
    let own: Vec<f64> = model
        .embed_texts(&texts)
        .unwrap()
        .embeddings
        .into_data()
        .iter()
        .collect();
    let ask = |input: Value, format: &str| {
        server.ask(
            "/v1/embeddings",
            &json!({"model": NAME, "input": input, "encoding_format": format}),
        )
    };
    let answer = ask(json!(texts), "float");
    let found: Vec<f64> = (0..2)
        .flat_map(|index| numbers(&answer["data"][index]["embedding"]))
        .collect();
    near(&found, &own);
    assert_eq!(answer["data"][1]["index"], 1);
    assert!(answer["usage"]["total_tokens"].as_u64() >= Some(6));

    let bytes = STANDARD
        .decode(
            ask(json!("a cat"), "base64")["data"][0]["embedding"]
                .as_str()
                .unwrap(),
        )
        .unwrap();
    let (bytes, _) = bytes.as_chunks::<4>();
    let found: Vec<f64> = bytes
        .iter()
        .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
        .collect();
    near(&found, &own[..found.len()]);

    let queries = model.embed_images(&[picture(1)]).unwrap().embeddings;
    let [_, count, width] = queries.dims();
    let queries: Vec<f64> = queries.into_data().iter().collect();
    for input in [json!(data_url(1)), json!([{"image": data_url(1)}])] {
        let answer = ask(input, "float");
        let found = &answer["data"][0];
        let found_queries: Vec<f64> = found["query_embeddings"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(numbers)
            .collect();
        near(&found_queries, &queries);
        let mean: Vec<f64> = (0..width)
            .map(|index| (0..count).map(|query| queries[query * width + index]).sum())
            .collect();
        let length = mean.iter().map(|value| value * value).sum::<f64>().sqrt();
        near(
            &numbers(&found["embedding"]),
            &mean.iter().map(|value| value / length).collect::<Vec<_>>(),
        );
    }
    for (input, format) in [
        (json!([]), "float"),
        (json!(5), "float"),
        (json!([1, 2]), "float"),
        (json!("a"), "hex"),
    ] {
        let body = json!({"model": NAME, "input": input, "encoding_format": format});
        assert_eq!(server.refused("/v1/embeddings", &body).0, 400);
    }
}

#[test]
fn looks_are_the_models_own() {
    for (folder, text) in [(OPT, None), (RETRIEVAL, None), (RETRIEVAL, Some("a cat"))] {
        let (server, model) = (Running::new(folder, |_| {}), load(folder));
        let mut body = json!({"image": data_url(1)});
        if let Some(text) = text {
            body["text"] = json!(text);
        }
        let answer = server.ask("/v1/attention", &body);
        let own = model.looks(&picture(1), text, None).unwrap();
        assert_eq!(answer["grid"], json!(own.grid));
        assert_eq!(answer["layers"].as_array().unwrap().len(), own.layers.len());
        let last = own.layers.last().unwrap();
        let found = &answer["layers"][own.layers.len() - 1]["queries"];
        for (found, own) in found.as_array().unwrap().iter().zip(&last.queries) {
            let own: Vec<f64> = own.iter().map(|weight| f64::from(*weight)).collect();
            near(&numbers(found), &own);
        }
        match text {
            None => assert_eq!(answer["words"], Value::Null),
            Some(text) => {
                let own = model.word_looks(&picture(1), text, None).unwrap();
                let words: Vec<Value> = own.words.iter().map(|word| json!(word.word)).collect();
                let found = answer["words"]["words"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|word| word["word"].clone());
                assert_eq!(found.collect::<Vec<_>>(), words);
            }
        }
    }
}

#[test]
fn a_model_says_what_it_lacks() {
    for (folder, lacking) in [
        (OPT, vec!["embeddings", "match", "words"]),
        (RETRIEVAL, vec!["caption", "chat"]),
    ] {
        let server = Running::new(folder, |_| {});
        let (status, models) = server.get("/v1/models");
        assert_eq!(status, 200);
        let models: Value = serde_json::from_str(&models).unwrap();
        assert_eq!(models["data"][0]["id"], NAME);
        let lacks: Vec<&String> = models["data"][0]["lacks"].as_object().unwrap().keys().collect();
        assert_eq!(lacks, lacking);
        assert_eq!(server.get("/ready").0, 200);
    }
    let server = Running::new(RETRIEVAL, |_| {});
    assert_eq!(
        server.refused("/v1/caption", &json!({"image": data_url(1)})),
        (400, "unsupported".to_owned())
    );
    let server = Running::new(OPT, |_| {});
    let body = json!({"image": data_url(1), "texts": ["a"]});
    assert_eq!(
        server.refused("/v1/match", &body),
        (400, "unsupported".to_owned())
    );
}

#[test]
fn what_is_no_picture_is_refused() {
    let server = Running::new(OPT, |options| options.limits.pixels = 1_000_000);
    let of = |bytes: &[u8]| format!("data:image/png;base64,{}", STANDARD.encode(bytes));
    let whole = std::fs::read(crate::support::picture_file(1)).unwrap();
    // A header that announces 60,000 by 60,000 pixels.
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    for (image, status) in [
        (json!(of(b"")), 400),
        (json!(of(b"no picture")), 400),
        (json!(of(&whole[..whole.len() / 2])), 400),
        (json!(of(&bomb)), 400),
        (json!("data:image/png;base64,***"), 400),
        (json!("data:image/png,plain"), 400),
        (json!("data:"), 400),
        (json!("file:///etc/passwd"), 400),
        (json!("ftp://example.org/a.png"), 400),
        (json!("image.png"), 400),
        (json!(""), 400),
        (json!(7), 400),
        (json!("http://example.org/a.png"), 403),
        (json!("HTTPS://example.org/a.png"), 403),
    ] {
        assert_eq!(
            server.refused("/v1/caption", &json!({"image": image})).0,
            status,
            "{image}"
        );
    }
    assert_eq!(
        server
            .refused("/v1/caption", &json!({"image": data_url(1), "sharpness": 1}))
            .0,
        400
    );
    // Where pictures are fetched, they are not fetched from here.
    let server = Running::new(OPT, |options| options.remote_images = true);
    let own = format!("http://{}/page/index.html", server.address);
    assert_eq!(server.refused("/v1/caption", &json!({"image": own})).0, 400);
    assert!(
        !server.get("/metrics").1.contains("/page/{file}"),
        "it asked itself"
    );
}

#[test]
fn the_document_names_every_route() {
    let server = Running::new(OPT, |_| {});
    let document: Value = serde_json::from_str(&server.get("/openapi.json").1).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let paths = document["paths"].as_object().unwrap();
    for (path, method) in [
        ("/v1/chat/completions", "post"),
        ("/v1/embeddings", "post"),
        ("/v1/caption", "post"),
        ("/v1/match", "post"),
        ("/v1/attention", "post"),
        ("/v1/models", "get"),
        ("/v1/models/{model}", "get"),
        ("/health", "get"),
        ("/ready", "get"),
        ("/metrics", "get"),
    ] {
        assert!(paths[path][method].is_object(), "{path}");
    }
    let chat = &document["components"]["schemas"]["ChatRequest"];
    assert!(chat.to_string().contains("temperature"), "{chat}");
    let scheme = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    assert_eq!(document["security"], json!([{}, {"bearer": []}]));
    for open in ["/health", "/ready", "/metrics"] {
        assert_eq!(paths[open]["get"]["security"], json!([{}]), "{open}");
    }
    let closed = Running::new(OPT, |options| options.keys = Some(Keys::new(["secret"])));
    let document: Value = serde_json::from_str(&closed.get("/openapi.json").1).unwrap();
    assert_eq!(document["security"], json!([{"bearer": []}]));
    let (status, page) = server.get("/");
    assert!(status == 200 && page.contains("<title>BLIP-2</title>"));
}
