//! The order of a data set: complete, random, near its shards, and computed for any position alone.

use std::collections::BTreeSet;
use std::time::Instant;

use blip2_data::order::{Order, WINDOW};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_epoch_has_every_sample_once(
        runs in prop::collection::vec(0u64..40, 1..30), window in 0usize..9, seed: u64, epoch in 0u64..1000
    ) {
        let order = Order::new(seed, &runs, window);
        prop_assert_eq!(order.len(), runs.iter().sum::<u64>());
        let mut seen: Vec<u64> = (0..order.len()).map(|position| order.index(epoch, position)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..order.len()).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_shards_of_one_window_are_read_at_a_time(
        runs in prop::collection::vec(1u64..40, 1..30), window in 1usize..6, seed: u64
    ) {
        let order = Order::new(seed, &runs, window);
        let ends: Vec<u64> = runs.iter().scan(0, |end, run| { *end += run; Some(*end) }).collect();
        let (mut left, mut begun) = (runs.clone(), BTreeSet::new());
        for position in 0..order.len() {
            let index = order.index(7, position);
            let run = ends.partition_point(|end| *end <= index);
            begun.insert(run);
            left[run] -= 1;
            let open = begun.iter().filter(|run| left[**run] > 0).count();
            prop_assert!(open <= window);
        }
    }
}

#[test]
fn seeds_and_epochs_give_other_orders() {
    let all = |seed, epoch| {
        let order = Order::new(seed, &[50, 50], WINDOW);
        (0..100)
            .map(|position| order.index(epoch, position))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(1, 0), all(1, 0));
    assert_ne!(all(1, 0), all(1, 1));
    assert_ne!(all(1, 0), all(2, 0));
}

#[test]
fn every_place_is_as_likely() {
    let epochs = 6_000;
    let order = Order::new(3, &[3, 2], WINDOW);
    let mut counts = [[0u32; 5]; 5];
    for epoch in 0..epochs {
        for place in 0..5 {
            counts[place][order.index(epoch, place as u64) as usize] += 1;
        }
    }
    // 1200 expected; 6 standard deviations are about 186.
    assert!(
        counts.iter().flatten().all(|count| count.abs_diff(1_200) < 186),
        "{counts:?}"
    );
}

#[test]
fn neighbours_are_not_neighbours_afterwards() {
    let order = Order::new(5, &[10_000; 4], WINDOW);
    let near = (0..39_999).filter(|place| order.index(0, *place).abs_diff(order.index(0, place + 1)) < 100);
    // A random order has about 200 such pairs.
    assert!((100..300).contains(&near.count()));
}

#[test]
fn a_billion_samples_are_in_order_at_once() {
    let begun = Instant::now();
    let order = Order::new(1, &vec![10_000; 100_000], WINDOW);
    let mut seen: Vec<u64> = (0..1000).map(|step| order.index(3, step * 999_983)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
