//! Conversations: what is read again, and what is not.

use std::slice::from_ref;

use blip2::{Blip2, Chat, GenerationConfig, PictureCache, Piece, Reading, RgbImage};
use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{load, picture};

const QUESTIONS: [&str; 3] = ["what is it?", "and where?", "why?"];

/// Asks `question`, and checks that the answer is what is written where all is read anew. Says how many places the prompt has, and how
/// many of them were known.
fn ask(chat: &mut Chat<&Blip2>, model: &Blip2, picture: &RgbImage, question: &str) -> Reading {
    let settings = GenerationConfig {
        max_new_tokens: 6,
        repetition_penalty: 1.4,
        ..model.chat_settings()
    };
    let prompt = model.chat_template().prompt(chat.turns(), question);
    let mut heard = String::new();
    let answer = chat
        .ask(question, &settings, &mut |piece| heard += piece)
        .unwrap();
    let anew = model
        .caption(from_ref(picture), from_ref(&prompt), &settings)
        .unwrap();
    assert_eq!(answer.ids, anew[0].ids, "{prompt}");
    assert_eq!(heard, answer.text);
    let near = |one: f64, other: f64| (one - other).abs() < 1e-4 * other.abs();
    assert!(near(answer.score, anew[0].score), "{answer:?} {anew:?}");
    let encoded = model.encode_picture(picture, &PictureCache::new(0)).unwrap();
    let pieces = [Piece::Picture(encoded), Piece::Text(prompt)];
    let request = model.request(&pieces, question, &settings, 0, None).unwrap();
    let places: usize = request.prompt.iter().map(blip2::Segment::places).sum();
    assert_eq!(chat.reading().places, places);
    chat.reading()
}

#[test]
fn a_turn_computes_only_what_is_new() {
    let folder = fixture("hf/opt-tiny");
    let model = load(&folder).unwrap();
    let [first, second] = ["image0.png", "image1.png"].map(|file| picture(&folder, &Value::from(file)));
    let mut chat = model.chat(model.chat_template());
    chat.begin(Some(&first)).unwrap();
    let mut before = 0;
    for question in QUESTIONS {
        let reading = ask(&mut chat, &model, &first, question);
        // All that was read for the question before: what is new is its answer, and this question.
        assert_eq!(reading.known, before, "{question}");
        before = reading.places;
    }
    // Another picture is another soft prompt.
    chat.begin(Some(&second)).unwrap();
    assert_eq!(ask(&mut chat, &model, &second, QUESTIONS[0]).known, 0);
    // The first is remembered with the question that it was asked: only what the first answer follows is computed.
    chat.begin(Some(&first)).unwrap();
    let again = ask(&mut chat, &model, &first, QUESTIONS[0]);
    assert_eq!(again.known, again.places - 1);
    // Another question shares the picture and the first words.
    chat.begin(None).unwrap();
    let other = ask(&mut chat, &model, &first, QUESTIONS[2]);
    assert!((1..again.known).contains(&other.known), "{other:?} {again:?}");
}

#[test]
fn a_model_that_reads_in_both_directions_reads_all_of_it() {
    let folder = fixture("hf/flant5-tiny");
    let model = load(&folder).unwrap();
    let picture = picture(&folder, &Value::from("image0.png"));
    let mut chat = model.chat(model.chat_template());
    chat.begin(Some(&picture)).unwrap();
    for question in QUESTIONS {
        assert_eq!(ask(&mut chat, &model, &picture, question).known, 0);
    }
}

#[test]
fn a_question_that_fails_costs_no_other_its_answer() {
    let folder = fixture("hf/opt-tiny");
    let model = load(&folder).unwrap();
    let picture = picture(&folder, &Value::from("image0.png"));
    let mut chat = model.chat(model.chat_template());
    chat.begin(Some(&picture)).unwrap();
    let first = ask(&mut chat, &model, &picture, QUESTIONS[0]);
    let stopped = GenerationConfig {
        stop: blip2::StopFlag::default(),
        ..model.chat_settings()
    };
    stopped.stop.raise();
    chat.ask(QUESTIONS[1], &stopped, &mut |_| ()).unwrap_err();
    assert_eq!(chat.turns().len(), 1);
    // The question that failed was read nevertheless.
    let second = ask(&mut chat, &model, &picture, QUESTIONS[1]);
    assert_eq!(second.known, second.places - 1);
    assert!(second.places > first.places);
}
