//! Greedy search, sampling, and the rules.

use blip2_generation::{EarlyStopping, Generated, GenerationConfig, GenerationError, generate};

use crate::chain::Chain;

const END: u32 = 1;

fn settings() -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: 8,
        end_tokens: vec![END],
        ..Default::default()
    }
}

fn write(chain: &Chain, history: &[Vec<u32>], config: &GenerationConfig) -> Vec<Generated> {
    generate(&mut chain.clone(), history, config, None).unwrap()
}

#[test]
fn greedy_search_takes_the_likeliest_token_each_time() {
    for seed in 0..20 {
        let chain = Chain::new(seed, 6, 2);
        for (row, written) in write(&chain, &[vec![], vec![]], &settings()).iter().enumerate() {
            for length in 1..=written.ids.len() {
                let taken = chain.log_probability(row, &written.ids[..length]);
                for other in 0..6 {
                    let text = [&written.ids[..length - 1], &[other]].concat();
                    assert!(chain.log_probability(row, &text) <= taken);
                }
            }
            let mean = chain.log_probability(row, &written.ids) / written.ids.len() as f64;
            assert!((written.score - mean).abs() < 1e-5);
            assert!(written.ids.len() == 8 || written.ids.last() == Some(&END));
        }
    }
}

#[test]
fn a_finished_row_is_fed_no_more() {
    let mut chain = Chain::new(1, 6, 3);
    let history = vec![vec![]; 3];
    let mut heard = vec![Vec::new(); 3];
    let mut listen = |row: usize, token: u32| heard[row].push(token);
    let written = generate(&mut chain, &history, &settings(), Some(&mut listen)).unwrap();
    assert_eq!(
        chain.fed,
        written.iter().map(|text| text.ids.len() - 1).sum::<usize>()
    );
    assert_eq!(
        heard,
        written.into_iter().map(|text| text.ids).collect::<Vec<_>>()
    );
}

#[test]
fn no_end_token_before_the_minimal_length() {
    let chain = Chain::new(0, 5, 1).with_logits(|token| if token as u32 == END { 9.0 } else { token as f32 });
    let config = GenerationConfig {
        min_new_tokens: 3,
        ..settings()
    };
    assert_eq!(write(&chain, &[vec![]], &config)[0].ids, [4, 4, 4, END]);
    assert_eq!(write(&chain, &[vec![]], &settings())[0].ids, [END]);
}

#[test]
fn the_repetition_penalty_counts_history_and_works_on_both_signs() {
    let positive = Chain::new(0, 4, 1).with_logits(|token| [0.0, -9.0, 2.0, 3.0][token]);
    let negative = Chain::new(0, 4, 1).with_logits(|token| [-4.0, -9.0, -1.5, -1.0][token]);
    let config = GenerationConfig {
        repetition_penalty: 2.0,
        max_new_tokens: 3,
        ..settings()
    };
    assert_eq!(write(&positive, &[vec![]], &config)[0].ids, [3, 2, 3]);
    assert_eq!(write(&positive, &[vec![3]], &config)[0].ids, [2, 3, 3]);
    assert_eq!(write(&negative, &[vec![]], &config)[0].ids, [3, 2, 3]);
    assert_eq!(write(&negative, &[vec![3]], &config)[0].ids, [2, 3, 3]);
}

#[test]
fn no_run_of_tokens_comes_twice() {
    for size in 1..=3 {
        let config = GenerationConfig {
            no_repeat_ngram_size: size,
            max_new_tokens: 20,
            end_tokens: vec![],
            ..settings()
        };
        for num_beams in [1, 3] {
            let history = vec![vec![2, 3, 4]];
            let config = GenerationConfig {
                num_beams,
                ..config.clone()
            };
            let written = write(&Chain::new(4, 5, 1), &history, &config).remove(0);
            let text = [&history[0][..], &written.ids].concat();
            let mut runs: Vec<&[u32]> = text.windows(size).collect();
            let all = runs.len();
            runs.sort();
            runs.dedup();
            assert_eq!(runs.len(), all, "{text:?}");
        }
    }
}

#[test]
fn sampling_follows_the_probabilities_and_the_seed() {
    let rows = 6;
    let logits = [0.5f32, -30.0, 1.5, 0.0, -1.0, 1.0];
    let chain = Chain::new(0, 6, rows).with_logits(|token| logits[token]);
    let history = vec![vec![]; rows];
    let draws = |config: &GenerationConfig| {
        let mut counts = [0.0f64; 6];
        for seed in 0..40 {
            let config = GenerationConfig {
                seed,
                ..config.clone()
            };
            write(&chain, &history, &config)
                .iter()
                .flat_map(|text| &text.ids)
                .for_each(|id| counts[*id as usize] += 1.0);
        }
        let total: f64 = counts.iter().sum();
        counts.map(|count| count / total)
    };
    let config = GenerationConfig {
        sample: true,
        max_new_tokens: 100,
        ..settings()
    };
    let expected = |temperature: f64, kept: &[usize]| {
        let weights: Vec<f64> = (0..6)
            .map(|token| {
                if kept.contains(&token) {
                    (f64::from(logits[token]) / temperature).exp()
                } else {
                    0.0
                }
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect::<Vec<_>>()
    };
    // Probabilities at temperature 1: 0.45, 0.27, 0.17, 0.10, 0.04 of tokens 2, 5, 0, 3, 4 (about).
    let cases = [
        (config.clone(), 1.0, vec![0, 2, 3, 4, 5]),
        (
            GenerationConfig {
                temperature: 0.5,
                ..config.clone()
            },
            0.5,
            vec![0, 2, 3, 4, 5],
        ),
        (
            GenerationConfig {
                top_k: 2,
                ..config.clone()
            },
            1.0,
            vec![2, 5],
        ),
        (
            GenerationConfig {
                top_p: 0.8,
                ..config.clone()
            },
            1.0,
            vec![2, 5, 0],
        ),
        (
            GenerationConfig {
                top_p: 0.01,
                ..config.clone()
            },
            1.0,
            vec![2],
        ),
    ];
    for (config, temperature, kept) in cases {
        let expected = expected(temperature, &kept);
        for (drawn, expected) in draws(&config).iter().zip(expected) {
            // Five deviations of 24,000 draws.
            let margin = 5.0 * (expected * (1.0 - expected) / 24_000.0).sqrt();
            assert!(
                (drawn - expected).abs() <= margin,
                "{config:?}: {drawn} instead of {expected}"
            );
        }
    }
    let once = write(&chain, &history, &config);
    assert_eq!(once, write(&chain, &history, &config));
    assert_ne!(
        once,
        write(
            &chain,
            &history,
            &GenerationConfig {
                seed: 1,
                ..config.clone()
            }
        )
    );
    assert_ne!(once[0].ids, once[1].ids);
    let first = write(&chain.row(0), &history[..1], &config).remove(0);
    assert_eq!(first, once[0]);
}

#[test]
fn bad_settings_and_bad_logits_are_errors() {
    let refused = |config: GenerationConfig| {
        matches!(
            generate(&mut Chain::new(0, 4, 1), &[vec![]], &config, None),
            Err(GenerationError::Config(_))
        )
    };
    assert!(refused(GenerationConfig {
        max_new_tokens: 0,
        ..settings()
    }));
    assert!(refused(GenerationConfig {
        num_beams: 0,
        ..settings()
    }));
    for (num_beams, num_return_sequences, sample) in
        [(1, 0, true), (1, 2, false), (2, 3, false), (2, 3, true)]
    {
        assert!(refused(GenerationConfig {
            num_beams,
            num_return_sequences,
            sample,
            ..settings()
        }));
    }
    assert!(refused(GenerationConfig {
        temperature: 0.0,
        ..settings()
    }));
    for (sample, expected) in [(true, true), (false, false)] {
        let cold = GenerationConfig {
            temperature: 1e-38,
            sample,
            ..settings()
        };
        assert_eq!(refused(cold), expected);
    }
    assert!(refused(GenerationConfig {
        top_p: 0.0,
        ..settings()
    }));
    assert!(refused(GenerationConfig {
        top_p: f32::NAN,
        ..settings()
    }));
    for repetition_penalty in [-1.0, 0.0, 1e-40, 1e30, f32::NAN] {
        assert!(refused(GenerationConfig {
            repetition_penalty,
            ..settings()
        }));
    }
    assert!(refused(GenerationConfig {
        length_penalty: f64::INFINITY,
        ..settings()
    }));
    let rows = generate(&mut Chain::new(0, 4, 2), &[vec![]], &settings(), None);
    assert!(matches!(rows, Err(GenerationError::Rows { model: 2, given: 1 })));
    for num_beams in [1, 2] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut chain = Chain::new(0, 4, 1).with_logits(|token| if token == 2 { bad } else { 0.0 });
            let config = GenerationConfig {
                num_beams,
                ..settings()
            };
            let written = generate(&mut chain, &[vec![]], &config, None);
            assert!(
                matches!(written, Err(GenerationError::NotFinite { row: 0 })),
                "{written:?}"
            );
        }
    }
}

#[test]
fn settings_are_read_from_text_and_unknown_ones_refused() {
    let config: GenerationConfig = serde_json::from_str(r#"{"num_beams": 5, "end_tokens": [2]}"#).unwrap();
    assert_eq!(
        config,
        GenerationConfig {
            num_beams: 5,
            end_tokens: vec![2],
            ..Default::default()
        }
    );
    assert!(serde_json::from_str::<GenerationConfig>(r#"{"beams": 5}"#).is_err());
    for (text, early_stopping) in [
        ("false", EarlyStopping::Estimated),
        ("true", EarlyStopping::WhenFull),
        (r#""never""#, EarlyStopping::Never),
    ] {
        let read: EarlyStopping = serde_json::from_str(text).unwrap();
        assert_eq!(read, early_stopping);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
    assert!(serde_json::from_str::<EarlyStopping>(r#""always""#).is_err());
}
