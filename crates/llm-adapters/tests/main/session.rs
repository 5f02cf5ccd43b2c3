//! Continuous batching over real builds of models: what a request gets does not depend on who comes and goes beside it.

use std::collections::BTreeMap;

use blip2_core::{LanguageModel, OpenTexts, Segment};
use blip2_generation::{Event, Generated, GenerationConfig, Request, RowId, Session, generate_by_streams};
use blip2_llm_adapters::{
    Architecture, GateActivation, Gemma3, Gemma3Config, Llama, LlamaConfig, Opt, OptConfig, T5, T5Config,
};
use burn::tensor::{Device, Tensor, TensorData};

/// Arrivals of a test.
const ARRIVALS: usize = 200;
const VOCABULARY: usize = 40;
const END: u32 = 2;
/// Room for the beginnings of some texts, not of all.
const REMEMBERED: usize = 200_000;

/// One model of each build, with weights large enough that logits lie apart.
fn models() -> Vec<(&'static str, Box<dyn LanguageModel>)> {
    let device = Device::flex();
    let llama = LlamaConfig {
        architecture: Architecture::Llama,
        hidden_size: 24,
        intermediate_size: 40,
        layers: 2,
        heads: 4,
        key_heads: 2,
        head_width: 6,
        vocabulary_size: VOCABULARY,
        positions: 96,
        norm_epsilon: 1e-5,
        rope_theta: 1e4,
        rope_factors: Vec::new(),
        tied: true,
    };
    let gemma = Gemma3Config {
        hidden_size: 24,
        intermediate_size: 40,
        sliding: vec![true, false],
        window: 5,
        heads: 4,
        key_heads: 2,
        head_width: 8,
        score_scale: 0.3,
        vocabulary_size: VOCABULARY,
        positions: 96,
        norm_epsilon: 1e-6,
        rope_theta: 1e6,
        rope_factor: 8.0,
        local_rope_theta: 1e4,
        tied: true,
    };
    let opt = OptConfig {
        embedding_size: 24,
        hidden_size: 24,
        intermediate_size: 40,
        layers: 2,
        heads: 3,
        vocabulary_size: VOCABULARY,
        positions: 96,
        norm_first: true,
        final_norm: true,
    };
    let t5 = T5Config {
        hidden_size: 24,
        intermediate_size: 40,
        encoder_layers: 2,
        decoder_layers: 2,
        heads: 3,
        head_width: 8,
        vocabulary_size: VOCABULARY,
        distance_buckets: 8,
        longest_distance: 16,
        norm_epsilon: 1e-6,
        activation: GateActivation::GeluTanh,
        tied: false,
        scaled_output: false,
        start_token: 0,
    };
    vec![
        ("llama", Box::new(Llama::new(llama, 11, &device))),
        ("gemma3", Box::new(Gemma3::new(gemma, 11, &device))),
        ("opt", Box::new(Opt::new(opt, 11, &device))),
        ("t5", Box::new(T5::new(t5, 11, &device))),
    ]
}

/// Small numbers that look random, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// One of a few pictures.
fn picture(number: usize, width: usize) -> Segment {
    let values: Vec<f32> = (0..3 * width)
        .map(|index| ((index * (number + 2)) as f32 * 0.37).sin())
        .collect();
    Segment::Soft(Tensor::from_data(
        TensorData::new(values, [3, width]),
        &Device::flex(),
    ))
}

/// Prompts of which many begin alike, in all manners of writing.
fn request(numbers: &mut Numbers, width: usize) -> Request {
    let mut prompt = vec![picture(numbers.below(3), width)];
    for turn in 0..1 + numbers.below(2) {
        if turn > 0 && numbers.below(2) == 0 {
            prompt.push(picture(numbers.below(3), width));
        }
        let first = 3 + numbers.below(4) as u32;
        let length = 1 + numbers.below(6) as u32;
        prompt.push(Segment::Ids(
            (0..length)
                .map(|index| (first * 7 + index * 5) % VOCABULARY as u32)
                .collect(),
        ));
    }
    let history = prompt.iter().flat_map(|segment| match segment {
        Segment::Ids(ids) => ids.clone(),
        Segment::Soft(_) => Vec::new(),
    });
    let num_beams = [1, 1, 1, 3][numbers.below(4)];
    let sample = numbers.below(2) == 0;
    Request {
        history: history.collect(),
        prompt,
        stream: numbers.below(5) as u64,
        settings: GenerationConfig {
            max_new_tokens: 1 + numbers.below(12),
            min_new_tokens: numbers.below(3),
            num_beams,
            num_return_sequences: if sample || num_beams > 1 {
                1 + numbers.below(2)
            } else {
                1
            },
            sample,
            temperature: 0.8,
            top_p: [1.0, 0.9][numbers.below(2)],
            repetition_penalty: [1.0, 1.3][numbers.below(2)],
            seed: numbers.below(3) as u64,
            end_tokens: vec![END],
            ..Default::default()
        },
        scores: None,
    }
}

/// What a request gets when nobody else was ever there.
fn alone(model: &dyn LanguageModel, request: &Request) -> Vec<Generated> {
    let mut text = model.open(0);
    text.admit(&request.prompt).unwrap();
    let (history, streams) = ([request.history.clone()], [request.stream]);
    generate_by_streams(text.as_mut(), &history, &streams, &request.settings, None).unwrap()
}

fn step(session: &mut Session, done: &mut BTreeMap<RowId, Vec<Generated>>) {
    let mut hear = |event| {
        if let Event::Done { row, texts } = event {
            done.insert(row, texts.unwrap());
        }
    };
    session.step(&mut hear).unwrap();
}

#[test]
fn two_hundred_random_arrivals_get_what_each_gets_alone() {
    for (name, model) in models() {
        let numbers = &mut Numbers(7);
        let mut session = Session::new(model.open(REMEMBERED));
        let (mut done, mut requests) = (BTreeMap::new(), BTreeMap::new());
        let (mut most, mut given_up) = (0, 0);
        for _ in 0..ARRIVALS {
            let request = request(numbers, model.hidden_size());
            let row = session.admit(request.clone()).unwrap();
            requests.insert(row, request);
            for _ in 0..numbers.below(3) {
                step(&mut session, &mut done);
            }
            most = most.max(session.requests());
            // Somebody leaves.
            let waiting: Vec<RowId> = requests
                .keys()
                .copied()
                .filter(|row| !done.contains_key(row))
                .collect();
            if numbers.below(10) == 0 && !waiting.is_empty() {
                let leaver = waiting[numbers.below(waiting.len())];
                assert!(session.retire(leaver).unwrap());
                requests.remove(&leaver);
                given_up += 1;
            }
        }
        while session.requests() > 0 {
            step(&mut session, &mut done);
        }
        assert!(
            most > 4 && given_up > 5,
            "{name}: {most} at a time, {given_up} gave up"
        );
        assert_eq!(done.len(), requests.len(), "{name}");
        let mut different = std::collections::BTreeSet::new();
        for (row, request) in &requests {
            let expected = alone(model.as_ref(), request);
            let ids = |texts: &[Generated]| texts.iter().map(|text| text.ids.clone()).collect::<Vec<_>>();
            assert_eq!(ids(&done[row]), ids(&expected), "{name}: {:?}", request.settings);
            for (found, expected) in done[row].iter().zip(&expected) {
                assert!((found.score - expected.score).abs() < 1e-4, "{name}");
            }
            different.extend(ids(&expected));
        }
        assert!(
            different.len() > ARRIVALS / 4,
            "{name}: only {} different texts",
            different.len()
        );
    }
}

/// Counts what is read: the second question about a picture reads its own words only.
#[test]
fn a_beginning_is_read_once() {
    for (name, model) in models() {
        let numbers = &mut Numbers(3);
        let width = model.hidden_size();
        let first = vec![picture(0, width), Segment::Ids(vec![5, 6, 7])];
        let second = vec![
            picture(0, width),
            Segment::Ids(vec![5, 6, 9, numbers.below(9) as u32]),
        ];
        let logits = |remembered: usize, prompts: &[&Vec<Segment>]| {
            let mut open = model.open(remembered);
            prompts.iter().for_each(|prompt| open.admit(prompt).unwrap());
            let logits: Vec<f32> = open.logits().into_data().try_into_vec().unwrap();
            logits[logits.len() - VOCABULARY..].to_vec()
        };
        let fresh = logits(0, &[&second]);
        let reused = logits(REMEMBERED, &[&first, &second]);
        let apart = fresh
            .iter()
            .zip(&reused)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(apart < 1e-4, "{name}: {apart}");
    }
}

#[test]
fn texts_opened_later_compute_only_what_is_new() {
    let models = models();
    for (number, (name, model)) in models.iter().enumerate() {
        let decoder = *name != "t5";
        let prompt = |ids: &[u32]| vec![picture(1, model.hidden_size()), Segment::Ids(ids.to_vec())];
        let admitted = |open: &mut dyn OpenTexts, ids: &[u32]| {
            open.admit(&prompt(ids)).unwrap();
            open.reused()
        };
        let mut first = model.open(REMEMBERED);
        assert_eq!(admitted(first.as_mut(), &[3, 4, 5]), 0, "{name}");
        let mut second = model.open(REMEMBERED);
        second.recall(first.release());
        // The queries of the picture are three.
        let known = if decoder { 3 + 3 } else { 0 };
        assert_eq!(admitted(second.as_mut(), &[3, 4, 5, 6, 7, 8]), known, "{name}");
        assert_eq!(admitted(first.as_mut(), &[3, 4, 5]), 0, "{name} gave it away");
        // Another model, also one of the same build, makes something else of the same words.
        let other = &models[(number + 1) % models.len()].1;
        for (other, kept) in [
            (other, second.release()),
            (&self::models()[number].1, first.release()),
        ] {
            let mut open = other.open(REMEMBERED);
            open.recall(kept);
            let ids = [picture(1, other.hidden_size()), Segment::Ids(vec![3, 4, 5, 6])];
            open.admit(&ids).unwrap();
            assert_eq!(open.reused(), 0, "{name}");
        }
        // What there is no room for is not kept.
        let mut none = model.open(0);
        assert_eq!(admitted(none.as_mut(), &[3, 4, 5]), 0);
        let mut last = model.open(REMEMBERED);
        last.recall(none.release());
        assert_eq!(admitted(last.as_mut(), &[3, 4, 5, 6]), 0, "{name}");
    }
}
