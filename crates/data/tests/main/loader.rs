//! The order of examples is seeded, complete, and the same after a resume.

use blip2_data::loader::{Loader, LoaderError, Position, order};

#[test]
fn an_epoch_shows_every_example_once() {
    let first = order(1, 0, 100);
    assert_eq!(first, order(1, 0, 100));
    assert_ne!(first, order(1, 1, 100));
    assert_ne!(first, order(2, 0, 100));
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    assert!(order(1, 0, 0).is_empty());
}

#[test]
fn every_place_is_as_likely() {
    let runs = 6_000;
    let mut counts = [[0u32; 4]; 4];
    for epoch in 0..runs {
        for (place, example) in order(3, epoch, 4).into_iter().enumerate() {
            counts[place][example] += 1;
        }
    }
    // 1500 expected; 6 standard deviations are about 200.
    assert!(
        counts.iter().flatten().all(|count| count.abs_diff(1_500) < 200),
        "{counts:?}"
    );
}

#[test]
fn incomplete_batches_are_dropped() {
    let mut loader = Loader::new(5, 10, 4, Position::default()).expect("two batches an epoch");
    assert_eq!(loader.batches_per_epoch(), 2);
    let first: Vec<usize> = [loader.next_batch(), loader.next_batch()].concat();
    assert_eq!(first, order(5, 0, 10)[..8]);
    assert_eq!(loader.next_batch(), order(5, 1, 10)[..4]);
    assert_eq!(loader.position(), Position { epoch: 1, index: 4 });
}

#[test]
fn a_resumed_run_goes_on_where_it_stopped() {
    for stop in 0..12 {
        let mut whole = Loader::new(9, 23, 5, Position::default()).expect("batches");
        (0..stop).for_each(|_| drop(whole.next_batch()));
        let saved = serde_json::to_string(&whole.position()).expect("plain numbers");
        let position = serde_json::from_str(&saved).expect("what was saved");
        let mut resumed = Loader::new(9, 23, 5, position).expect("batches");
        for _ in 0..7 {
            assert_eq!(resumed.next_batch(), whole.next_batch());
            assert_eq!(resumed.position(), whole.position());
        }
    }
}

#[test]
fn impossible_loaders_are_refused() {
    let start = Position::default();
    assert_eq!(
        Loader::new(0, 10, 0, start).err(),
        Some(LoaderError::Batch { batch: 0, len: 10 })
    );
    assert_eq!(
        Loader::new(0, 10, 11, start).err(),
        Some(LoaderError::Batch { batch: 11, len: 10 })
    );
    let foreign = Position { epoch: 0, index: 11 };
    assert_eq!(
        Loader::new(0, 10, 2, foreign).err(),
        Some(LoaderError::Position { index: 11, len: 10 })
    );
}
