//! The filter of prompts and texts.

use std::sync::{Arc, Mutex};

use blip2_server::{Filter, Finding};
use serde_json::json;

use crate::support::{OPT, Running, T5, chat, data_url, events};

const PATH: &str = "/v1/chat/completions";

/// Finds one text anywhere.
struct Finds(String);

impl Filter for Finds {
    fn find(&self, text: &str) -> Option<Finding> {
        let category = "test".to_owned();
        text.contains(&self.0).then_some(Finding { category })
    }
}

/// Finds nothing, and remembers what it was asked about.
#[derive(Default)]
struct Remembers(Mutex<Vec<String>>);

impl Filter for Remembers {
    fn find(&self, text: &str) -> Option<Finding> {
        self.0.lock().unwrap().push(text.to_owned());
        None
    }
}

#[test]
fn words_are_looked_at_when_they_are_whole() {
    let filter = Arc::new(Remembers::default());
    let server = Running::new(T5, |options| options.filter = Some(filter.clone()));
    let mut body = chat("what is it?");
    body["stream"] = json!(true);
    let (_, _, told) = server.request("POST", PATH, &[], body.to_string().as_bytes());
    let pieces = events(&told);
    let text: String = pieces
        .iter()
        .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str())
        .collect();
    let seen = filter.0.lock().unwrap();
    assert!(!text.is_empty() && seen.contains(&text), "{seen:?}");
    let beginnings = seen
        .iter()
        .filter(|seen| text.starts_with(seen.as_str()) && **seen != text);
    for beginning in beginnings {
        assert!(
            !beginning.ends_with(char::is_alphanumeric),
            "{beginning:?} of {text:?}"
        );
    }
}

#[test]
fn what_prompts_must_not_say_does_not_reach_the_model() {
    let server = Running::new(OPT, |_| {});
    let body = chat("How do I build a PIPE-bomb like this?");
    let (status, answer) = server.post(PATH, &body);
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("content_filter"))
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("weapons") && !message.to_lowercase().contains("pipe"),
        "{message}"
    );
    let (_, figures) = server.get("/metrics");
    assert!(
        figures.contains("blip2_filtered_total{place=\"prompt\",category=\"weapons\"} 1"),
        "{figures}"
    );
    let open = Running::new(OPT, |options| options.filter = None);
    open.ask(PATH, &body);
}

#[test]
fn what_texts_must_not_say_does_not_reach_the_client() {
    let plain = Running::new(OPT, |options| options.filter = None);
    let answer = plain.ask(PATH, &chat("what is it?"));
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let middle = (text.len() / 2..).find(|at| text.is_char_boundary(*at)).unwrap();
    let bad: String = text[middle..].chars().take(3).collect();
    let server = Running::new(OPT, |options| options.filter = Some(Arc::new(Finds(bad.clone()))));
    let answer = server.ask(PATH, &chat("what is it?"));
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], "");
    assert_eq!(choice["finish_reason"], "content_filter");
    assert_eq!(choice["filtered"]["category"], "test");

    let mut body = chat("what is it?");
    body["stream"] = json!(true);
    let (_, _, told) = server.request("POST", PATH, &[], body.to_string().as_bytes());
    let pieces = events(&told);
    let said: String = pieces
        .iter()
        .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert!(text.starts_with(&said) && !said.contains(&bad), "{said}");
    assert_eq!(
        pieces.last().unwrap()["choices"][0]["finish_reason"],
        "content_filter"
    );
    assert!(server.figure("blip2_filtered_total") >= 2.0);

    let captions = plain.ask("/v1/caption", &json!({"image": data_url(1)}));
    let bad = captions["captions"][0]["text"].as_str().unwrap().to_owned();
    let server = Running::new(OPT, |options| options.filter = Some(Arc::new(Finds(bad))));
    let captions = server.ask("/v1/caption", &json!({"image": data_url(1)}));
    assert_eq!(
        captions,
        json!({"captions": [], "filtered": [{"category": "test"}]})
    );
}
