//! Mixtures: by size every sample once an epoch, by weight the shares that were asked for, and any position alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use blip2_data::mixture::{Mixing, Mixture, MixtureError, Part, Place};
use proptest::prelude::*;

use crate::numbers::Numbers;

fn part(name: &'static str, runs: &[u64], weight: Option<f64>) -> Part {
    Part {
        weight,
        ..Part::new(Arc::new(Numbers::new(name, runs)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn by_size_an_epoch_has_every_sample_of_every_set_once(
        sizes in prop::collection::vec(prop::collection::vec(1u64..30, 1..5), 1..5), seed: u64
    ) {
        let parts = sizes.iter().map(|runs| part("some", runs, None)).collect();
        let mixture = Mixture::new(parts, Mixing::new(seed)).expect("a mixture");
        for epoch in 0..2 {
            let mut seen: Vec<(usize, u64)> = (epoch * mixture.len()..(epoch + 1) * mixture.len())
                .map(|position| {
                    let place = mixture.at(position);
                    assert_eq!(place.epoch, epoch);
                    (place.set, place.index)
                })
                .collect();
            seen.sort_unstable();
            let all = sizes.iter().enumerate().flat_map(|(set, runs)| (0..runs.iter().sum()).map(move |index| (set, index)));
            prop_assert_eq!(seen, all.collect::<Vec<_>>());
        }
    }

    #[test]
    fn by_weight_each_set_goes_through_its_own_epochs(
        weights in prop::collection::vec(0.01f64..10.0, 2..5), together in 1u64..40, seed: u64
    ) {
        let parts = weights.iter().enumerate().map(|(set, weight)| part("some", &[7 + set as u64, 5], Some(*weight)));
        let mixing = Mixing { together, ..Mixing::new(seed) };
        let mixture = Mixture::new(parts.collect(), mixing).expect("a mixture");
        let mut seen: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
        for position in 0..5000 {
            let Place { set, epoch, index } = mixture.at(position);
            prop_assert_eq!(set, mixture.at(position - position % together).set);
            seen.entry(set).or_default().push((epoch, index));
        }
        for (set, places) in seen {
            for (epoch, of_one) in places.chunks(12 + set).enumerate() {
                let mut indices: Vec<u64> = of_one.iter().map(|(_, index)| *index).collect();
                prop_assert!(of_one.iter().all(|(of, _)| *of == epoch as u64));
                indices.sort_unstable();
                indices.dedup();
                prop_assert_eq!(indices.len(), of_one.len());
            }
        }
    }
}

#[test]
fn shares_are_what_was_asked_for() {
    let weights = [0.5, 0.3, 0.2, 1e-9];
    let parts = weights.map(|weight| part("some", &[1000], Some(weight))).to_vec();
    let mixture = Mixture::new(parts, Mixing::new(3)).expect("a mixture");
    let mut counts = [0; 4];
    (0..1 << 14).for_each(|position| counts[mixture.at(position).set] += 1);
    assert_eq!(counts, [8191, 4915, 3277, 1]);
}

#[test]
fn a_run_goes_on_only_with_its_own_data() {
    let mixture = |seed, runs: &[u64]| {
        Mixture::new(
            vec![part("a", runs, None), part("b", &[5], None)],
            Mixing::new(seed),
        )
        .expect("a mixture")
    };
    let begun = mixture(1, &[10, 20]);
    let saved = serde_json::to_string(&begun.progress(100)).expect("plain values");
    let progress = serde_json::from_str(&saved).expect("what was saved");
    assert_eq!(mixture(1, &[10, 20]).resume(&progress), Ok(100));
    assert!(matches!(
        mixture(2, &[10, 20]).resume(&progress),
        Err(MixtureError::Other { what: "seed", .. })
    ));
    let other = mixture(1, &[20, 10]).resume(&progress);
    assert!(
        matches!(
            other,
            Err(MixtureError::Other {
                what: "fingerprint",
                ..
            })
        ),
        "{other:?}"
    );
}

#[test]
fn impossible_mixtures_are_refused() {
    let refused = |parts| {
        Mixture::new(parts, Mixing::new(0))
            .err()
            .expect("no mixture")
            .to_string()
    };
    assert!(refused(vec![]).contains("no data set"));
    assert!(refused(vec![part("empty", &[0], None)]).contains("empty has no samples"));
    assert!(
        refused(vec![part("a", &[1], Some(1.0)), part("b", &[1], None)]).contains("weight of b is absent")
    );
    assert!(refused(vec![part("a", &[1], Some(-1.0))]).contains("weight of a is -1"));
}
