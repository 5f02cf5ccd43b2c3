//! Chat completions.

use blip2::{GenerationConfig, Turn};
use serde_json::{Value, json};

use crate::support::{NAME, OPT, Running, T5, chat, data_url, events, load, picture, question};

const PATH: &str = "/v1/chat/completions";

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// The tokens of `logprobs`.
fn tokens(logprobs: &Value) -> &[Value] {
    logprobs["content"].as_array().unwrap()
}

/// The same tokens, whose scores differ by no more than rounding: what is remembered of a beginning was read in other company.
fn alike(found: &[Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found["token"], expected["token"]);
        assert_eq!(found["bytes"], expected["bytes"]);
        let score = |token: &Value| token["logprob"].as_f64().unwrap();
        assert!(
            (score(found) - score(expected)).abs() < 1e-4,
            "{found} {expected}"
        );
    }
}

fn streamed(server: &Running, mut body: Value) -> Vec<Value> {
    body["stream"] = json!(true);
    let (status, head, body) = server.request("POST", PATH, &[], body.to_string().as_bytes());
    assert_eq!(status, 200, "{body}");
    assert!(
        head.to_lowercase().contains("content-type: text/event-stream"),
        "{head}"
    );
    events(&body)
}

#[test]
fn an_answer_is_the_models_own_by_both_families() {
    for folder in [OPT, T5] {
        let (server, model) = (Running::new(folder, |_| {}), load(folder));
        let settings = GenerationConfig {
            max_new_tokens: 12,
            ..model.chat_settings()
        };
        let mut own = model.chat(model.chat_template());
        own.begin(Some(&picture(1))).unwrap();
        let mut silent = |_: &str| {};
        let first = own.ask("what is it?", &settings, &mut silent).unwrap();
        let answer = server.ask(PATH, &chat("what is it?"));
        assert_eq!(content(&answer), first.text, "{folder}");
        assert_eq!(answer["object"], "chat.completion");
        assert_eq!(answer["model"], NAME);
        let choice = &answer["choices"][0];
        assert_eq!(
            (&choice["index"], &choice["message"]["role"]),
            (&json!(0), &json!("assistant"))
        );
        let expected = if first.ids.len() == 12 { "length" } else { "stop" };
        assert_eq!(choice["finish_reason"], expected);
        assert_eq!(answer["usage"]["completion_tokens"], first.ids.len());
        assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(4));

        // The next question, with what was said before.
        let second = own.ask("and where?", &settings, &mut silent).unwrap();
        let said = [Turn {
            question: "what is it?".to_owned(),
            answer: first.text.clone(),
        }];
        assert_eq!(own.turns()[..1], said);
        let mut body = chat("what is it?");
        body["messages"] = json!([
            question("what is it?"),
            {"role": "assistant", "content": first.text},
            {"role": "user", "content": "and where?"},
        ]);
        for _ in 0..2 {
            assert_eq!(content(&server.ask(PATH, &body)), second.text, "{folder}");
        }
    }
}

#[test]
fn pieces_make_the_answer() {
    for (folder, filtered) in [(OPT, true), (OPT, false), (T5, true), (T5, false)] {
        let server = Running::new(folder, |options| {
            if !filtered {
                options.filter = None;
            }
        });
        for num_beams in [1, 3] {
            let mut body = chat("what is it?");
            body["num_beams"] = json!(num_beams);
            let whole = server.ask(PATH, &body);
            body["stream_options"] = json!({"include_usage": true});
            let pieces = streamed(&server, body);
            let [first, rest @ .., last, usage] = &pieces[..] else {
                panic!("{pieces:?}");
            };
            assert_eq!(
                first["choices"][0]["delta"],
                json!({"role": "assistant", "content": ""})
            );
            let text: String = rest
                .iter()
                .map(|piece| piece["choices"][0]["delta"]["content"].as_str().unwrap())
                .collect();
            assert_eq!(text, content(&whole), "{folder}");
            // The filter waits for whole words.
            assert!(num_beams > 1 || filtered || rest.len() > 3, "{rest:?}");
            assert_eq!(last["choices"][0]["delta"], json!({}));
            assert_eq!(
                last["choices"][0]["finish_reason"],
                whole["choices"][0]["finish_reason"]
            );
            assert_eq!(usage["choices"], json!([]));
            assert_eq!(usage["usage"], whole["usage"]);
            for piece in &pieces {
                assert_eq!(piece["object"], "chat.completion.chunk");
                assert_eq!(piece["id"], first["id"]);
            }
        }
    }
}

#[test]
fn an_answer_ends_before_a_stop() {
    let server = Running::new(OPT, |_| {});
    let whole = server.ask(PATH, &chat("what is it?"));
    let text = content(&whole).to_owned();
    // In the middle, between characters.
    let middle = (text.len() / 2..).find(|at| text.is_char_boundary(*at)).unwrap();
    let stop: String = text[middle..].chars().take(2).collect();
    let expected = text[..text.find(&stop).unwrap()].trim_end().to_owned();
    for stops in [json!(stop), json!(["never this", stop])] {
        let mut body = chat("what is it?");
        body["stop"] = stops;
        let answer = server.ask(PATH, &body);
        assert_eq!(content(&answer), expected);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let pieces = streamed(&server, body);
        let said: String = pieces
            .iter()
            .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(said, expected);
    }
    server.wait_for("blip2_rows", 0.0);
}

#[test]
fn several_answers_are_drawn_by_the_seed() {
    let server = Running::new(OPT, |_| {});
    let ask = |seed: i64, temperature: f64| -> Vec<String> {
        let mut body = chat("what is it?");
        body["n"] = json!(3);
        body["seed"] = json!(seed);
        body["temperature"] = json!(temperature);
        let answer = server.ask(PATH, &body);
        let choices = answer["choices"].as_array().unwrap();
        let indices: Vec<u64> = choices
            .iter()
            .map(|choice| choice["index"].as_u64().unwrap())
            .collect();
        assert_eq!(indices, [0, 1, 2]);
        choices
            .iter()
            .map(|choice| choice["message"]["content"].as_str().unwrap().to_owned())
            .collect()
    };
    let drawn = ask(1, 1.5);
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2], "{drawn:?}");
    assert_eq!(ask(1, 1.5), drawn);
    assert_ne!(ask(2, 1.5), drawn);
    let likeliest = ask(1, 0.0);
    assert!(likeliest.iter().all(|text| *text == likeliest[0]));
    assert_eq!(content(&server.ask(PATH, &chat("what is it?"))), likeliest[0]);
}

#[test]
fn tokens_come_with_their_scores() {
    let server = Running::new(OPT, |_| {});
    let mut body = chat("what is it?");
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(3);
    let answer = server.ask(PATH, &body);
    let scored = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    assert!(!scored.is_empty());
    for token in &scored {
        let likeliest = token["top_logprobs"].as_array().unwrap();
        assert_eq!(likeliest.len(), 3);
        let scores: Vec<f64> = likeliest
            .iter()
            .map(|token| token["logprob"].as_f64().unwrap())
            .collect();
        assert!(
            scores.is_sorted_by(|a, b| a >= b) && scores[0] <= 0.0,
            "{scores:?}"
        );
        // The likeliest is the one that was taken.
        assert_eq!(
            (&likeliest[0]["token"], &likeliest[0]["logprob"]),
            (&token["token"], &token["logprob"])
        );
    }
    let pieces = streamed(&server, body);
    let streamed: Vec<Value> = pieces
        .iter()
        .filter_map(|piece| piece["choices"][0]["logprobs"]["content"].as_array().cloned())
        .flatten()
        .collect();
    alike(&streamed, &scored);
    assert_eq!(
        server.ask(PATH, &chat("?"))["choices"][0]["logprobs"],
        Value::Null
    );
}

#[test]
fn several_pictures_stand_in_one_conversation() {
    let server = Running::new(OPT, |_| {});
    let show = |number: usize| json!({"type": "image_url", "image_url": {"url": data_url(number)}});
    let say = |text: &str| json!({"type": "text", "text": text});
    let logprobs = |messages: Value| {
        let body = json!({"model": NAME, "messages": messages, "max_tokens": 1, "logprobs": true, "top_logprobs": 5});
        let answer = server.ask(PATH, &body);
        (
            answer["choices"][0]["logprobs"].clone(),
            answer["usage"]["prompt_tokens"].as_u64().unwrap(),
        )
    };
    let (one, short) = logprobs(json!([{"role": "user", "content": [show(1), say("what is it?")]}]));
    // The order of parts within a message does not count: the picture is read first.
    let (turned, _) = logprobs(json!([{"role": "user", "content": [say("what is it?"), show(1)]}]));
    alike(tokens(&one), tokens(&turned));
    let (two, long) = logprobs(json!([{"role": "user", "content": [show(1), show(2), say("what is it?")]}]));
    let (swapped, _) = logprobs(json!([{"role": "user", "content": [show(2), show(1), say("what is it?")]}]));
    assert!(one != two && two != swapped);
    assert!(long > short);
    let later = logprobs(json!([
        {"role": "user", "content": [show(1), say("what is it?")]},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": [show(2), say("what is it?")]},
    ]));
    let without = logprobs(json!([
        {"role": "user", "content": [show(1), say("what is it?")]},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "what is it?"},
    ]));
    assert!(later.0 != without.0 && later.1 > without.1);
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let server = Running::new(OPT, |_| {});
    let with = |name: &str, value: Value| {
        let mut body = chat("what is it?");
        body[name] = value;
        body
    };
    let messages = |messages: Value| with("messages", messages);
    for (body, status, code) in [
        (with("model", json!("other")), 404, "model_not_found"),
        (with("max_tokens", json!("many")), 400, "invalid_value"),
        (with("max_tokens", json!(0)), 400, "invalid_value"),
        (with("max_tokens", json!(100_000)), 400, "invalid_value"),
        (with("max_tokens", json!(900)), 400, "context_length_exceeded"),
        (with("temperature", json!(1e-38)), 400, "invalid_value"),
        (with("repetition_penalty", json!(1e-40)), 400, "invalid_value"),
        (with("temperature", json!(3)), 400, "invalid_value"),
        (with("n", json!(0)), 400, "invalid_value"),
        (with("n", json!(1000)), 400, "invalid_value"),
        (
            with("stop", json!(["a", "b", "c", "d", "e"])),
            400,
            "invalid_value",
        ),
        (with("stop", json!("")), 400, "invalid_value"),
        (with("stop", json!(5)), 400, "invalid_value"),
        (with("top_logprobs", json!(2)), 400, "invalid_value"),
        (with("tools", json!([{"type": "function"}])), 400, "invalid_value"),
        (
            with("response_format", json!({"type": "json_object"})),
            400,
            "invalid_value",
        ),
        (with("frequency_penalty", json!(0.5)), 400, "invalid_value"),
        (messages(json!([])), 400, "invalid_value"),
        (messages(json!("hello")), 400, "invalid_value"),
        (
            messages(json!([{"role": "user", "content": "no picture"}])),
            400,
            "invalid_value",
        ),
        (
            messages(json!([{"role": "robot", "content": "?"}])),
            400,
            "invalid_value",
        ),
        (
            messages(json!([question("?"), {"role": "assistant", "content": "!"}])),
            400,
            "invalid_value",
        ),
        (
            messages(json!([{"role": "assistant", "content": "!"}, question("?")])),
            400,
            "invalid_value",
        ),
        (
            messages(json!([question("?"), {"role": "system", "content": "late"}])),
            400,
            "invalid_value",
        ),
        (
            messages(
                json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "no url"}}]}]),
            ),
            400,
            "invalid_value",
        ),
        (
            messages(json!([{"role": "user", "content": [{"type": "input_audio"}]}])),
            400,
            "invalid_value",
        ),
    ] {
        assert_eq!(
            server.refused(PATH, &body),
            (status, code.to_owned()),
            "{}",
            body["messages"]
        );
        // The same where pieces are asked for: nothing was sent yet.
        let mut body = body;
        body["stream"] = json!(true);
        assert_eq!(server.refused(PATH, &body).0, status);
    }
    let (_, answer) = server.post(PATH, &messages(json!([{"role": "user", "content": 5}])));
    assert_eq!(answer["error"]["param"], "messages[0]", "{answer}");
    // What is of no consequence is taken.
    let mut body = chat("what is it?");
    body["user"] = json!("somebody");
    body["frequency_penalty"] = Value::Null;
    body["presence_penalty"] = json!(0);
    server.ask(PATH, &body);
}

#[test]
fn what_asks_for_nothing_is_taken() {
    let server = Running::new(OPT, |_| {});
    let plain = server.ask(PATH, &chat("what is it?"));
    for (name, value) in [
        ("stream", Value::Null),
        ("stream_options", json!({"include_usage": null})),
        ("response_format", json!({"type": "text"})),
        ("tools", json!([])),
        ("tool_choice", json!("none")),
        ("logit_bias", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("modalities", json!(["text"])),
        ("reasoning_effort", json!("low")),
        ("top_p", json!(0)),
    ] {
        let mut body = chat("what is it?");
        body[name] = value;
        assert_eq!(content(&server.ask(PATH, &body)), content(&plain), "{name}");
    }
    let answered = |said: Value| {
        let mut body = chat("what is it?");
        body["messages"] = json!([
            question("what is it?"),
            {"role": "assistant", "content": said},
            {"role": "user", "content": "and where?"},
        ]);
        content(&server.ask(PATH, &body)).to_owned()
    };
    assert_eq!(answered(Value::Null), answered(json!("")));
}

#[test]
fn tokens_have_the_spaces_of_their_text() {
    let server = Running::new(T5, |_| {});
    let mut spaces = 0;
    for seed in 0..5 {
        let mut body = chat("what is it?");
        body["logprobs"] = json!(true);
        body["temperature"] = json!(1);
        body["seed"] = json!(seed);
        let answer = server.ask(PATH, &body);
        let tokens = tokens(&answer["choices"][0]["logprobs"]);
        let text = |token: &Value| token["token"].as_str().unwrap().to_owned();
        let joined: String = tokens.iter().map(text).collect();
        assert_eq!(joined.trim(), content(&answer));
        spaces += content(&answer).matches(' ').count();
        for token in tokens {
            assert_eq!(token["bytes"], json!(text(token).as_bytes()));
        }
    }
    assert!(spaces > 0, "no space that could have been lost");
}

#[test]
fn conversations_side_by_side_get_their_own_answers() {
    let server = Running::new(OPT, |_| {});
    let ask = |number: usize| {
        let mut body = chat(&format!("what is number {number}?"));
        body["messages"][0]["content"][0]["image_url"]["url"] = json!(data_url(1 + number % 2));
        content(&server.ask(PATH, &body)).to_owned()
    };
    let alone: Vec<String> = (0..8).map(ask).collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|number| scope.spawn(move || ask(number))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
}
