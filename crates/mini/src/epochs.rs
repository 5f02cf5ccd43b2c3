//! The order of scenes that all lie in memory: an epoch is a new order of all of them, of which an incomplete last batch is
//! dropped. A function of seed and step, so that a resumed run goes on exactly where the broken one stopped.

use blip2_data::Stream;

/// The `batch` of `len` examples that `step` (from 1) takes, all different. `batch` is at most `len`, as recipes are checked for.
pub(crate) fn batch(seed: u64, len: usize, batch: usize, step: u64) -> Vec<usize> {
    let batches = (len / batch) as u64;
    let (epoch, number) = ((step - 1) / batches, (step - 1) % batches);
    order(seed, epoch, len)[number as usize * batch..][..batch].to_vec()
}

/// The order of `len` examples in an epoch.
fn order(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Stream::new(seed, "epoch order", epoch).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::{batch, order};

    #[test]
    fn an_epoch_shows_every_example_once() {
        let first = order(1, 0, 100);
        assert_eq!(first, order(1, 0, 100));
        assert_ne!(first, order(1, 1, 100));
        assert_ne!(first, order(2, 0, 100));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
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
    fn batches_follow_the_order_and_incomplete_ones_are_dropped() {
        let [first, second, third] = [1, 2, 3].map(|step| batch(5, 10, 4, step));
        assert_eq!([first, second].concat(), order(5, 0, 10)[..8]);
        assert_eq!(third, order(5, 1, 10)[..4]);
        assert_eq!(batch(5, 4, 4, 2), order(5, 1, 4));
    }
}
