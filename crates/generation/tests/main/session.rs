//! Texts that come and go.

use std::collections::BTreeMap;

use blip2_core::Segment;
use blip2_generation::{
    Event, Generated, GenerationConfig, GenerationError, Request, RowId, Session, Token, generate_by_streams,
};

use crate::chain::Chain;

const END: u32 = 1;
const VOCABULARY: usize = 7;

fn request(number: u32, settings: GenerationConfig) -> Request {
    let history = vec![number % VOCABULARY as u32, (number / 2) % VOCABULARY as u32];
    Request {
        prompt: vec![Segment::Ids(history.clone())],
        history,
        stream: u64::from(number),
        settings,
        scores: None,
    }
}

fn settings() -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: 9,
        end_tokens: vec![END],
        ..Default::default()
    }
}

/// What a request gets when nobody else is there.
fn alone(chain: &Chain, request: &Request) -> Vec<Generated> {
    let mut model = chain.clone();
    blip2_core::OpenTexts::admit(&mut model, &request.prompt).unwrap();
    let (history, streams) = ([request.history.clone()], [request.stream]);
    generate_by_streams(&mut model, &history, &streams, &request.settings, None).unwrap()
}

/// What became of each request: the tokens that were heard of each text, and its texts.
#[derive(Default)]
struct Heard {
    tokens: BTreeMap<(RowId, usize), Vec<Token>>,
    done: BTreeMap<RowId, Vec<Generated>>,
}

impl Heard {
    fn step(&mut self, session: &mut Session) {
        session
            .step(&mut |event| match event {
                Event::Token { row, text, token } => self.tokens.entry((row, text)).or_default().push(token),
                Event::Done { row, texts } => {
                    assert!(self.done.insert(row, texts.unwrap()).is_none());
                }
            })
            .unwrap();
    }
}

#[test]
fn each_request_gets_what_it_gets_alone() {
    let chain = Chain::new(3, VOCABULARY, 0);
    let kinds = [
        settings(),
        GenerationConfig {
            num_beams: 3,
            num_return_sequences: 2,
            ..settings()
        },
        GenerationConfig {
            sample: true,
            num_return_sequences: 2,
            seed: 5,
            ..settings()
        },
        GenerationConfig {
            sample: true,
            temperature: 0.5,
            top_p: 0.8,
            max_new_tokens: 4,
            ..settings()
        },
        GenerationConfig {
            min_new_tokens: 5,
            no_repeat_ngram_size: 2,
            repetition_penalty: 1.5,
            ..settings()
        },
    ];
    let requests: Vec<Request> = (0..30)
        .map(|number| request(number, kinds[number as usize % kinds.len()].clone()))
        .collect();
    let mut session = Session::new(Box::new(chain.clone()));
    let (mut heard, mut names) = (Heard::default(), Vec::new());
    for (number, request) in requests.iter().enumerate() {
        names.push(session.admit(request.clone()).unwrap());
        for _ in 0..number % 3 {
            heard.step(&mut session);
        }
    }
    while session.requests() > 0 {
        assert!(session.rows() >= session.requests());
        heard.step(&mut session);
    }
    for (name, request) in names.iter().zip(&requests) {
        let expected = alone(&chain, request);
        assert_eq!(heard.done[name], expected);
        for (number, text) in expected.iter().enumerate() {
            let tokens = &heard.tokens[&(*name, number)];
            assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), text.ids);
        }
    }
}

#[test]
fn a_request_that_is_given_up_is_heard_no_more() {
    let chain = Chain::new(4, VOCABULARY, 0).with_logits(|token| if token == 4 { 9.0 } else { 0.0 });
    let mut session = Session::new(Box::new(chain));
    let mut heard = Heard::default();
    let (first, second) = (
        session.admit(request(1, settings())).unwrap(),
        session.admit(request(2, settings())).unwrap(),
    );
    heard.step(&mut session);
    assert!(session.retire(first).unwrap());
    assert!(!session.retire(first).unwrap());
    let third = session.admit(request(3, settings())).unwrap();
    while session.requests() > 0 {
        heard.step(&mut session);
    }
    assert_eq!(heard.tokens[&(first, 0)].len(), 1);
    assert_eq!(heard.tokens[&(second, 0)].len(), 9);
    assert_eq!(heard.tokens[&(third, 0)].len(), 9);
    assert_eq!(heard.done.keys().copied().collect::<Vec<_>>(), [second, third]);
    // The last one that is given up leaves an empty session, which goes on.
    let fourth = session.admit(request(4, settings())).unwrap();
    assert!(session.retire(fourth).unwrap());
    assert_eq!((session.requests(), session.rows()), (0, 0));
    let fifth = session.admit(request(5, settings())).unwrap();
    while session.requests() > 0 {
        heard.step(&mut session);
    }
    assert_eq!(heard.done[&fifth][0].ids, [4; 9]);
}

#[test]
fn scores_are_those_of_the_model() {
    let chain = Chain::new(5, VOCABULARY, 0).with_logits(|token| token as f32);
    let mut session = Session::new(Box::new(chain));
    let request = Request {
        scores: Some(2),
        ..request(
            0,
            GenerationConfig {
                sample: true,
                temperature: 9.0,
                max_new_tokens: 30,
                ..Default::default()
            },
        )
    };
    let row = session.admit(request).unwrap();
    let mut heard = Heard::default();
    while session.requests() > 0 {
        heard.step(&mut session);
    }
    let normalizer = (0..VOCABULARY)
        .map(|token| (token as f64).exp())
        .sum::<f64>()
        .ln();
    let tokens = &heard.tokens[&(row, 0)];
    assert!(
        tokens.iter().any(|token| token.id < 5),
        "something else was drawn"
    );
    for token in tokens {
        let scores = token.scores.as_ref().unwrap();
        let near = |found: f32, logit: u32| (f64::from(found) - f64::from(logit) + normalizer).abs() < 1e-5;
        assert!(near(scores.log_probability, token.id), "{token:?}");
        let [(6, first), (5, second)] = scores.likeliest[..] else {
            panic!("{token:?}");
        };
        assert!(near(first, 6) && near(second, 5), "{token:?}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_at_once() {
    let mut session = Session::new(Box::new(Chain::new(6, VOCABULARY, 0)));
    let longest = GenerationConfig {
        max_new_tokens: Chain::POSITIONS - 1,
        ..settings()
    };
    session.admit(request(1, longest.clone())).unwrap();
    let longer = GenerationConfig {
        max_new_tokens: Chain::POSITIONS,
        ..longest
    };
    let error = session.admit(request(1, longer)).unwrap_err();
    assert!(
        matches!(error, GenerationError::NoRoom { room: 39, wanted: 40 }),
        "{error}"
    );
    let contradictory = GenerationConfig {
        top_p: 0.0,
        ..settings()
    };
    let error = session.admit(request(1, contradictory)).unwrap_err();
    assert!(matches!(error, GenerationError::Config(_)), "{error}");
    let empty = Request {
        prompt: vec![],
        ..request(1, settings())
    };
    let error = session.admit(empty).unwrap_err();
    assert!(matches!(error, GenerationError::Model(_)), "{error}");
    assert_eq!(session.requests(), 1);
}
