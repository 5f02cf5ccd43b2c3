//! Beam search against trying everything.

use blip2_generation::{EarlyStopping, GenerationConfig, GenerationError, generate};

use crate::chain::Chain;

const END: u32 = 1;

fn settings(num_beams: usize, max_new_tokens: usize, length_penalty: f64) -> GenerationConfig {
    GenerationConfig {
        num_beams,
        max_new_tokens,
        length_penalty,
        end_tokens: vec![END],
        ..Default::default()
    }
}

/// With a length penalty of zero a finished score is comparable at every step, so that a search whose beams hold every
/// open text finds the best of all texts. A negative penalty only makes longer texts worse: the same holds.
#[test]
fn with_a_beam_for_every_text_the_best_of_all_texts_is_found() {
    for seed in 0..20 {
        for length_penalty in [0.0, -1.0] {
            let chain = Chain::new(seed, 4, 2);
            let config = settings(4usize.pow(4), 4, length_penalty);
            let written = generate(&mut chain.clone(), &[vec![], vec![]], &config, None).unwrap();
            for (row, written) in written.iter().enumerate() {
                let score =
                    |ids: &[u32]| chain.log_probability(row, ids) / (ids.len() as f64).powf(length_penalty);
                let texts = chain.all_texts(4, END);
                let best = texts.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
                assert_eq!(&written.ids, best, "seed {seed}, length penalty {length_penalty}");
                assert!((written.score - score(best)).abs() < 1e-4);
            }
        }
    }
}

/// The same search, written as plainly as possible over whole texts, for few beams and any length penalty: its finished
/// texts, best first.
fn reference(chain: &Chain, row: usize, config: &GenerationConfig, vocabulary: u32) -> Vec<(Vec<u32>, f64)> {
    let at = |ids: &[u32], length: usize| {
        chain.log_probability(row, ids) / (length as f64).powf(config.length_penalty)
    };
    let penalized = |ids: &[u32]| at(ids, ids.len());
    let mut running: Vec<Vec<u32>> = vec![vec![]];
    let mut finished: Vec<Vec<u32>> = vec![];
    for length in 1..=config.max_new_tokens {
        let mut candidates: Vec<Vec<u32>> = running
            .iter()
            .flat_map(|text| (0..vocabulary).map(move |token| [&text[..], &[token]].concat()))
            .collect();
        candidates.sort_by(|a, b| {
            chain
                .log_probability(row, b)
                .total_cmp(&chain.log_probability(row, a))
        });
        candidates.truncate(2 * config.num_beams);
        let over = |text: &[u32]| text.last() == Some(&END) || length == config.max_new_tokens;
        finished.extend(
            candidates
                .iter()
                .take(config.num_beams)
                .filter(|text| over(text))
                .cloned(),
        );
        finished.sort_by(|a, b| penalized(b).total_cmp(&penalized(a)));
        finished.truncate(config.num_beams);
        running = candidates
            .into_iter()
            .filter(|text| !over(text))
            .take(config.num_beams)
            .collect();
        let full = finished.len() == config.num_beams;
        let beaten = |length| at(&running[0], length) <= penalized(&finished[config.num_beams - 1]);
        let over = || match config.early_stopping {
            EarlyStopping::Estimated => beaten(length),
            EarlyStopping::WhenFull => true,
            EarlyStopping::Never if config.length_penalty > 0.0 => beaten(config.max_new_tokens),
            EarlyStopping::Never => beaten(length),
        };
        if running.is_empty() || full && over() {
            break;
        }
    }
    finished
        .into_iter()
        .map(|ids| (ids.clone(), penalized(&ids)))
        .collect()
}

#[test]
fn few_beams_decide_as_the_definition_says() {
    let mut lengths = std::collections::BTreeSet::new();
    let mut by_stopping = Vec::new();
    for early_stopping in [
        EarlyStopping::Estimated,
        EarlyStopping::WhenFull,
        EarlyStopping::Never,
    ] {
        let mut texts = Vec::new();
        for seed in 0..60 {
            for (num_beams, length_penalty) in [(2, 1.0), (3, 2.0), (3, -1.0), (5, 0.5), (4, 0.0)] {
                let chain = Chain::new(seed, 6, 3);
                let config = GenerationConfig {
                    early_stopping,
                    num_return_sequences: num_beams,
                    ..settings(num_beams, 8, length_penalty)
                };
                let history = vec![vec![]; 3];
                let written = generate(&mut chain.clone(), &history, &config, None).unwrap();
                for (row, written) in written.chunks(num_beams).enumerate() {
                    let case =
                        format!("seed {seed}, {num_beams} beams, {length_penalty}, {early_stopping:?}");
                    let reference = reference(&chain, row, &config, 6);
                    assert_eq!(written[0].ids, reference[0].0, "{case}");
                    // Behind the best, the same steps in another order may be equal but for rounding.
                    for (written, (_, score)) in written.iter().zip(reference) {
                        assert!((written.score - score).abs() < 1e-4, "{case}");
                    }
                    lengths.insert(written[0].ids.len());
                    let alone = generate(&mut chain.row(row), &history[..1], &config, None).unwrap();
                    assert_eq!(alone, written);
                    texts.push(written[0].ids.clone());
                }
            }
        }
        by_stopping.push(texts);
    }
    assert!(
        lengths.len() > 4,
        "the texts should end at many lengths, not at {lengths:?}"
    );
    let [estimated, full, never] = &by_stopping[..] else {
        unreachable!()
    };
    assert!(
        estimated != full && estimated != never,
        "it does not count when the search ends"
    );
}

#[test]
fn fewer_texts_than_asked_for_are_an_error() {
    let config = GenerationConfig {
        num_return_sequences: 5,
        ..settings(5, 1, 1.0)
    };
    let written = generate(&mut Chain::new(0, 4, 1), &[vec![]], &config, None);
    let Err(GenerationError::TooFew {
        row: 0,
        found: 4,
        wanted: 5,
    }) = written
    else {
        panic!("{written:?}");
    };
}

#[test]
fn several_end_tokens_leave_enough_beams_to_go_on() {
    let config = GenerationConfig {
        end_tokens: vec![1, 2, 3],
        min_new_tokens: 3,
        ..settings(2, 5, 1.0)
    };
    for seed in 0..20 {
        let written = generate(&mut Chain::new(seed, 6, 1), &[vec![]], &config, None).unwrap();
        let ids = &written[0].ids;
        assert!(
            ids.len() == 5 || ids.len() > 3 && config.end_tokens.contains(&ids[ids.len() - 1]),
            "{ids:?}"
        );
        assert!(
            ids[..3].iter().all(|id| !config.end_tokens.contains(id)),
            "{ids:?}"
        );
    }
}

#[test]
fn a_text_that_the_rules_leave_no_token_for_ends() {
    let config = GenerationConfig {
        no_repeat_ngram_size: 1,
        end_tokens: vec![],
        ..settings(2, 9, 1.0)
    };
    let written = generate(&mut Chain::new(3, 4, 1), &[vec![0]], &config, None).unwrap();
    let mut ids = written[0].ids.clone();
    ids.sort();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn the_callback_hears_the_finished_text() {
    let mut heard = vec![Vec::new(); 2];
    let mut listen = |row: usize, token: u32| heard[row].push(token);
    let history = vec![vec![]; 2];
    let written = generate(
        &mut Chain::new(5, 6, 2),
        &history,
        &settings(3, 6, 1.0),
        Some(&mut listen),
    )
    .unwrap();
    assert_eq!(
        heard,
        written.into_iter().map(|text| text.ids).collect::<Vec<_>>()
    );
}
