//! Sums over parts that lie on several ranks: near each other in any order, bit for bit in one.

use blip2_distributed::{BUCKET, OrderedSum, Threads, Volume, WATCHDOG};

const PARTS: usize = 12;
/// More than a bucket, and no multiple of any number of ranks.
const LENGTH: usize = BUCKET + 1001;

/// Numbers whose sum depends on its order.
fn part(part: usize) -> Vec<f32> {
    let scale = 1.1_f32.powi(part as i32);
    let value = |index: usize| ((index * 7919 + part * 104_729) % 10_007) as f32 - 5000.0;
    (0..LENGTH).map(|index| value(index) * scale).collect()
}

fn added(left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    left.iter()
        .zip(&right)
        .map(|(left, right)| left + right)
        .collect()
}

fn own(rank: usize, ranks: usize) -> OrderedSum<Vec<f32>> {
    let mut sum = OrderedSum::default();
    for number in rank * PARTS / ranks..(rank + 1) * PARTS / ranks {
        sum.push(number..number + 1, part(number), &mut added);
    }
    sum
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_sum_in_order_is_the_same_to_the_bit_on_any_number_of_ranks() {
    let whole = own(0, 1).total(&mut added).expect("parts");
    for size in [2, 3, 4, 5] {
        let sums = Threads::run(size, WATCHDOG, |ranks| {
            let nodes = own(ranks.rank(), size).into_nodes();
            ranks.sum_in_order("gradients", &nodes).expect("a sum")
        });
        assert!(
            sums.iter().all(|sum| bits(sum) == bits(&whole)),
            "{size} ranks differ from one"
        );
    }
}

#[test]
fn a_sum_in_any_order_is_the_same_on_all_ranks_and_near() {
    let whole = own(0, 1).total(&mut added).expect("parts");
    let largest = whole.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let sums = Threads::run(3, WATCHDOG, |ranks| {
        let mut sum = own(ranks.rank(), 3).total(&mut added).expect("parts");
        ranks.all_reduce("gradients", &mut [&mut sum]).expect("a sum");
        sum
    });
    assert!(sums.iter().all(|sum| bits(sum) == bits(&sums[0])));
    let apart = sums[0]
        .iter()
        .zip(&whole)
        .map(|(ours, theirs)| (ours - theirs).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-5 * largest);
}

#[test]
fn order_costs_no_traffic_where_each_rank_has_a_node() {
    let counted = Threads::run(4, WATCHDOG, |ranks| {
        let nodes = [(ranks.rank()..ranks.rank() + 1, vec![1.0; 4000])];
        let sum = ranks.sum_in_order("gradients", &nodes).expect("a sum");
        assert_eq!(sum, vec![4.0; 4000]);
        ranks.traffic().of("gradients")
    });
    let ring = Volume {
        sent: 24_000,
        received: 24_000,
    };
    assert_eq!(counted, [ring; 4]);
}
