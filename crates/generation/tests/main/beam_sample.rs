//! Beam search over drawn continuations, against the exact probability of each text.

use std::collections::BTreeMap;

use blip2_generation::{EarlyStopping, GenerationConfig, generate, generate_by_streams};

use crate::chain::Chain;

const END: u32 = 1;
const VOCABULARY: u32 = 5;
const DRAWS: usize = 20_000;

fn settings() -> GenerationConfig {
    GenerationConfig {
        num_beams: 2,
        max_new_tokens: 3,
        sample: true,
        top_k: 0,
        end_tokens: vec![END],
        ..Default::default()
    }
}

/// A text with its sum of scores, or its final score.
type Scored = (Vec<u32>, f64);

/// What runs and what has ended; the texts alone decide the scores.
#[derive(Clone, Default)]
struct State {
    running: Vec<Scored>,
    finished: Vec<Scored>,
}

impl State {
    fn texts(&self) -> [Vec<Vec<u32>>; 2] {
        [&self.running, &self.finished].map(|all| all.iter().map(|(text, _)| text.clone()).collect())
    }
}

/// Every way to draw `count` of `candidates`, one after the other, with its probability.
fn orders(candidates: &[Scored], count: usize) -> Vec<(Vec<Scored>, f64)> {
    let total: f64 = candidates.iter().map(|(_, score)| score.exp()).sum();
    if count == 0 || candidates.is_empty() {
        return vec![(vec![], 1.0)];
    }
    let mut all = Vec::new();
    for (index, first) in candidates.iter().enumerate() {
        let mut left = candidates.to_vec();
        left.remove(index);
        for (mut rest, probability) in orders(&left, count - 1) {
            rest.insert(0, first.clone());
            all.push((rest, probability * first.1.exp() / total));
        }
    }
    all
}

/// The probability of each text to be the best, by trying every order of draws.
fn exact(chain: &Chain, config: &GenerationConfig) -> BTreeMap<Vec<u32>, f64> {
    let start = State {
        running: vec![(vec![], 0.0)],
        finished: vec![],
    };
    let mut result = BTreeMap::new();
    let mut open = BTreeMap::from([(start.texts(), (start, 1.0))]);
    while let Some((_, (state, probability))) = open.pop_last() {
        let length = state.running[0].0.len() + 1;
        let last = length == config.max_new_tokens;
        let mut candidates: Vec<Scored> = Vec::new();
        for (text, score) in &state.running {
            let mut next: Vec<Scored> = (0..VOCABULARY)
                .map(|token| {
                    let longer = [&text[..], &[token]].concat();
                    let step = chain.log_probability(0, &longer) - chain.log_probability(0, text);
                    (longer, step / f64::from(config.temperature))
                })
                .collect();
            next.sort_by(|a, b| b.1.total_cmp(&a.1));
            if config.top_k > 0 {
                next.truncate(config.top_k.max(2));
            }
            candidates.extend(next.into_iter().map(|(longer, step)| (longer, score + step)));
        }
        // Behind the first `num_beams` draws only those matter that go on.
        let count = if last {
            config.num_beams
        } else {
            2 * config.num_beams
        };
        for (drawn, share) in orders(&candidates, count) {
            let mut next = state.clone();
            let over = |text: &[u32]| last || text.ends_with(&[END]);
            let ended = drawn.iter().take(config.num_beams).filter(|(text, _)| over(text));
            let penalty = (length as f64).powf(config.length_penalty);
            next.finished
                .extend(ended.map(|(text, score)| (text.clone(), score / penalty)));
            next.finished.sort_by(|a, b| b.1.total_cmp(&a.1));
            next.finished.truncate(config.num_beams);
            next.running = drawn.iter().filter(|(text, _)| !over(text)).cloned().collect();
            next.running.sort_by(|a, b| b.1.total_cmp(&a.1));
            next.running.truncate(config.num_beams);
            let full = next.finished.len() == config.num_beams;
            let best = next.running.first().map(|(_, score)| score / penalty);
            if best.is_none_or(|best| full && best <= next.finished[config.num_beams - 1].1) {
                *result.entry(next.finished[0].0.clone()).or_default() += probability * share;
            } else {
                open.entry(next.texts()).or_insert((next, 0.0)).1 += probability * share;
            }
        }
    }
    result
}

#[test]
fn each_text_is_drawn_as_often_as_it_should_be() {
    let hot = GenerationConfig {
        temperature: 2.0,
        length_penalty: 0.0,
        ..settings()
    };
    let cut = GenerationConfig {
        temperature: 0.7,
        top_k: 1,
        ..settings()
    };
    let few = GenerationConfig {
        top_k: 3,
        ..settings()
    };
    for (seed, config) in [(1, settings()), (2, hot), (3, cut), (4, few)] {
        let chain = Chain::new(seed, VOCABULARY as usize, 1);
        let expected = exact(&chain, &config);
        assert!((expected.values().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(expected.len() > 2, "{expected:?}");
        let history = vec![vec![]; DRAWS];
        let written = generate(&mut chain.repeated(DRAWS), &history, &config, None).unwrap();
        let mut counts: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
        for text in written {
            *counts.entry(text.ids).or_default() += 1;
        }
        assert!(
            counts.keys().all(|text| expected.contains_key(text)),
            "{counts:?}"
        );
        for (text, expected) in expected {
            let drawn = counts.get(&text).copied().unwrap_or(0) as f64 / DRAWS as f64;
            // Five deviations, and one draw for what is all but impossible.
            let margin = 5.0 * (expected * (1.0 - expected) / DRAWS as f64).sqrt() + 1.0 / DRAWS as f64;
            assert!(
                (drawn - expected).abs() <= margin,
                "{text:?} in {config:?}: {drawn} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_row_is_drawn_for_alike_in_every_batch() {
    let chain = Chain::new(7, 6, 4);
    let config = GenerationConfig {
        max_new_tokens: 6,
        num_return_sequences: 2,
        ..settings()
    };
    for num_beams in [1, 3] {
        let config = GenerationConfig {
            num_beams,
            ..config.clone()
        };
        let streams = [11, 12, 13, 14];
        let history = vec![vec![]; 4];
        let write = |chain: &Chain, streams: &[u64]| {
            let history = &history[..streams.len()];
            generate_by_streams(&mut chain.clone(), history, streams, &config, None).unwrap()
        };
        let together = write(&chain, &streams);
        for row in 0..4 {
            let alone = write(&chain.row(row), &streams[row..=row]);
            assert_eq!(
                together[2 * row..][..2],
                alone[..],
                "row {row}, {num_beams} beams"
            );
        }
        assert_ne!(write(&chain.row(0), &[11]), write(&chain.row(0), &[12]));
    }
}

#[test]
fn several_samples_of_a_row_differ() {
    let chain = Chain::new(3, 6, 2);
    let config = GenerationConfig {
        num_beams: 1,
        num_return_sequences: 20,
        max_new_tokens: 6,
        ..settings()
    };
    let mut model = chain.clone();
    let mut heard = vec![Vec::new(); 40];
    let mut listen = |text: usize, token: u32| heard[text].push(token);
    let written = generate(&mut model, &[vec![], vec![]], &config, Some(&mut listen)).unwrap();
    assert_eq!(written.len(), 40);
    let heard_all: Vec<_> = written.iter().map(|text| text.ids.clone()).collect();
    assert_eq!(heard, heard_all);
    for (row, texts) in written.chunks(20).enumerate() {
        let distinct: std::collections::BTreeSet<_> = texts.iter().map(|text| &text.ids).collect();
        assert!(distinct.len() > 5, "row {row}: {distinct:?}");
        for text in texts {
            let mean = chain.log_probability(row, &text.ids) / text.ids.len() as f64;
            assert!((text.score - mean).abs() < 1e-5);
        }
    }
}

#[test]
fn beams_that_are_searched_for_early_ends_may_be_sampled_too() {
    let config = GenerationConfig {
        early_stopping: EarlyStopping::WhenFull,
        num_beams: 3,
        max_new_tokens: 8,
        num_return_sequences: 3,
        ..settings()
    };
    let written = generate(&mut Chain::new(5, 6, 1), &[vec![]], &config, None).unwrap();
    assert!(written.is_sorted_by(|a, b| a.score >= b.score), "{written:?}");
}
