//! Texts of a session, and what is kept between them.

use std::collections::BTreeMap;
use std::slice::from_ref;

use blip2::{
    Asked, Blip2, Event, Example, Generated, GenerationConfig, PictureCache, Piece, Request, RowId, Session,
};
use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{load, picture};

const FAMILIES: [&str; 2] = ["hf/opt-tiny", "hf/flant5-tiny"];
const ROOM: usize = 1 << 24;

/// Writes all of `requests`, which join one after the other.
fn write(session: &mut Session, requests: Vec<Request>) -> Vec<Vec<Generated>> {
    let mut done: BTreeMap<RowId, Vec<Generated>> = BTreeMap::new();
    let mut step = |session: &mut Session| {
        let mut hear = |event| {
            if let Event::Done { row, texts } = event {
                done.insert(row, texts.unwrap());
            }
        };
        session.step(&mut hear).unwrap();
    };
    for request in requests {
        session.admit(request).unwrap();
        step(session);
    }
    while session.requests() > 0 {
        step(session);
    }
    done.into_values().collect()
}

#[test]
fn a_model_can_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Blip2>();
    shared::<PictureCache>();
}

#[test]
fn what_is_written_together_is_what_is_written_alone() {
    for name in FAMILIES {
        let folder = fixture(name);
        let model = load(&folder).unwrap();
        let cache = PictureCache::new(ROOM);
        let all = ["image0.png", "image1.png", "image2.png"].map(|file| picture(&folder, &Value::from(file)));
        let kinds = [
            model.caption_settings().clone(),
            GenerationConfig {
                num_beams: 1,
                repetition_penalty: 1.4,
                ..model.caption_settings().clone()
            },
            GenerationConfig {
                num_beams: 3,
                num_return_sequences: 2,
                ..model.answer_settings().clone()
            },
        ];
        let (mut requests, mut expected) = (Vec::new(), Vec::new());
        for (number, prompt) in ["", "a photo of", "Question: what is it? Answer:", "a"]
            .iter()
            .enumerate()
        {
            let (picture, settings) = (&all[number % all.len()], &kinds[number % kinds.len()]);
            let pieces = [
                Piece::Picture(model.encode_picture(picture, &cache).unwrap()),
                Piece::Text((*prompt).to_owned()),
            ];
            requests.push(model.request(&pieces, prompt, settings, 0, None).unwrap());
            let alone = model.caption(from_ref(picture), &[(*prompt).to_owned()], settings);
            expected.push(alone.unwrap());
        }
        let mut session = model.session(ROOM).unwrap();
        // A second time with what is remembered.
        for _ in 0..2 {
            let written = write(&mut session, requests.clone());
            for (written, expected) in written.iter().zip(&expected) {
                let ids = |texts: &[Generated]| texts.iter().map(|text| text.ids.clone()).collect::<Vec<_>>();
                let expected_ids: Vec<_> = expected.iter().map(|text| text.ids.clone()).collect();
                assert_eq!(ids(written), expected_ids, "{name}");
                assert_eq!(model.decode(&written[0].ids).unwrap().trim(), expected[0].text);
            }
        }
    }
}

#[test]
fn a_picture_is_encoded_once() {
    let folder = fixture(FAMILIES[0]);
    let model = load(&folder).unwrap();
    let cache = PictureCache::new(ROOM);
    let [first, second] = ["image0.png", "image1.png"].map(|file| picture(&folder, &Value::from(file)));
    model.encode_picture(&first, &cache).unwrap();
    let one = cache.bytes();
    assert!(one > 0);
    model.encode_picture(&first.clone(), &cache).unwrap();
    assert_eq!(cache.bytes(), one);
    model.encode_picture(&second, &cache).unwrap();
    assert_eq!(cache.bytes(), 2 * one);
}

#[test]
fn what_is_drawn_depends_on_the_request_alone() {
    let folder = fixture(FAMILIES[0]);
    let model = load(&folder).unwrap();
    let cache = PictureCache::new(ROOM);
    let settings = GenerationConfig {
        sample: true,
        num_beams: 1,
        temperature: 1.5,
        ..model.caption_settings().clone()
    };
    let request = |file: &str, text: &str, number: u64| {
        let picture = picture(&folder, &Value::from(file));
        let pieces = [
            Piece::Picture(model.encode_picture(&picture, &cache).unwrap()),
            Piece::Text(text.to_owned()),
        ];
        model.request(&pieces, text, &settings, number, None).unwrap()
    };
    let same = request("image0.png", "a", 0);
    assert_eq!(same.stream, request("image0.png", "a", 0).stream);
    for other in [
        request("image1.png", "a", 0),
        request("image0.png", "b", 0),
        request("image0.png", "a", 1),
    ] {
        assert_ne!(same.stream, other.stream);
    }
    let mut session = model.session(0).unwrap();
    let alone = write(&mut session, vec![same.clone()]);
    let together = write(&mut session, vec![request("image1.png", "a", 0), same]);
    assert_eq!(together[1][0].ids, alone[0][0].ids);
}

#[test]
fn a_question_stands_behind_its_examples() {
    for (name, stop) in [("hf/opt-tiny", "\n"), ("hf/flant5-tiny", ". ")] {
        let folder = fixture(name);
        let model = load(&folder).unwrap();
        let pictures =
            ["image0.png", "image1.png", "image2.png"].map(|file| picture(&folder, &Value::from(file)));
        let encoded = pictures.each_ref().map(|picture| {
            let cache = PictureCache::new(0);
            model.encode_picture(picture, &cache).unwrap()
        });
        let settings = model.answer_settings();
        let asked = |examples: Vec<Example>| Asked {
            picture: encoded[0].clone(),
            question: "What is it?".to_owned(),
            examples,
        };
        let example = |picture: usize, question: &str, answer: &str| Example {
            picture: encoded[picture].clone(),
            question: question.to_owned(),
            answer: answer.to_owned(),
        };
        let prompt = Some("Q: {} A:");
        let alone = model
            .answer(&pictures[..1], &["What is it?"], prompt, settings)
            .unwrap();
        let shown = [
            asked(Vec::new()),
            asked(vec![example(1, "Who?", "a dog"), example(2, "Where?", "here ")]),
        ];
        let answers = model.answer_by_example(&shown, prompt, settings).unwrap();
        // Without examples it is the question alone, whoever stands beside it.
        assert_eq!(answers[0].ids, alone[0].ids, "{name}");
        let pieces = [
            Piece::Picture(encoded[1].clone()),
            Piece::Text(format!("Q: who? A: a dog{stop}")),
            Piece::Picture(encoded[2].clone()),
            Piece::Text(format!("Q: where? A: here{stop}")),
            Piece::Picture(encoded[0].clone()),
            Piece::Text("Q: what is it? A:".to_owned()),
        ];
        let request = model.request(&pieces, "", settings, 0, None).unwrap();
        let by_hand = write(&mut model.session(0).unwrap(), vec![request]);
        assert_eq!(answers[1].ids, by_hand[0][0].ids, "{name}");
        // A length penalty of -1 multiplies what rounding leaves.
        let near = |score: f64| (answers[1].score - score).abs() < 1e-5 * score.abs();
        let [shown, alone] = [by_hand[0][0].score, answers[0].score];
        assert!(near(shown) && !near(alone), "{name}: {answers:?}, {shown}");
    }
}
