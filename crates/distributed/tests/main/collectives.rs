//! What each collective gives, on any number of ranks.

use blip2_distributed::{BUCKET, Communicator, Threads, Volume, WATCHDOG};

#[test]
fn every_rank_is_given_what_it_is_due() {
    for size in [1, 2, 3, 4, 7] {
        let returned = Threads::run(size, WATCHDOG, |ranks| {
            let own = ranks.rank();
            let mut shared = match own {
                0 => *b"first",
                _ => [0; 5],
            };
            ranks.broadcast("greeting", &mut shared).expect("broadcast");
            assert_eq!(&shared, b"first");

            let gathered = ranks
                .all_gather("names", &vec![own as u8; own])
                .expect("all_gather");
            let expected: Vec<Vec<u8>> = (0..size).map(|rank| vec![rank as u8; rank]).collect();
            assert_eq!(gathered, expected);

            // For rank r so many bytes as both have together, nothing for oneself.
            let to: Vec<Vec<u8>> = (0..size)
                .map(|rank| vec![own as u8; if rank == own { 0 } else { rank + own }])
                .collect();
            let from = ranks.all_to_all("letters", &to).expect("all_to_all");
            for (rank, letters) in from.iter().enumerate() {
                let length = if rank == own { 0 } else { rank + own };
                assert_eq!(letters, &vec![rank as u8; length]);
            }

            let mut values = [own as f32, 1.0];
            ranks.all_reduce("sum", &mut [&mut values]).expect("all_reduce");
            ranks.barrier("the end").expect("barrier");
            (own, values)
        });
        let sum = (0..size).sum::<usize>() as f32;
        let expected: Vec<_> = (0..size).map(|rank| (rank, [sum, size as f32])).collect();
        assert_eq!(returned, expected);
    }
}

#[test]
fn tensors_of_any_length_are_summed_where_they_are() {
    let lengths = [
        3,
        BUCKET + 5,
        0,
        BUCKET / 4,
        BUCKET / 4,
        7,
        BUCKET / 4,
        BUCKET / 4,
        BUCKET / 2,
    ];
    let number = |tensor: usize, at: usize, rank: usize| (tensor * 31 + at % 1009 + rank * 17) as f32;
    let all_right = Threads::run(2, WATCHDOG, |ranks| {
        let of = |tensor: usize| (0..lengths[tensor]).map(move |at| (tensor, at));
        let mut tensors: Vec<Vec<f32>> = (0..lengths.len())
            .map(|tensor| {
                of(tensor)
                    .map(|(tensor, at)| number(tensor, at, ranks.rank()))
                    .collect()
            })
            .collect();
        let mut slices: Vec<&mut [f32]> = tensors.iter_mut().map(Vec::as_mut_slice).collect();
        ranks.all_reduce("gradients", &mut slices).expect("all_reduce");
        tensors.iter().enumerate().all(|(tensor, sums)| {
            let expected = of(tensor).map(|(tensor, at)| number(tensor, at, 0) + number(tensor, at, 1));
            sums.iter().copied().eq(expected)
        })
    });
    assert_eq!(all_right, [true, true]);
}

#[test]
fn alone_nothing_travels() {
    let alone = Communicator::solo();
    let mut values = [3.0];
    alone.all_reduce("sum", &mut [&mut values]).expect("all_reduce");
    alone.barrier("the end").expect("barrier");
    assert_eq!(alone.all_gather("bytes", b"own").expect("all_gather"), [b"own"]);
    let to = [b"own".to_vec()];
    assert_eq!(alone.all_to_all("bytes", &to).expect("all_to_all"), to);
    assert_eq!((values, alone.rank(), alone.size()), ([3.0], 0, 1));
    assert_eq!(alone.traffic().total(), Volume::default());
}

#[test]
fn what_travels_is_counted_by_name() {
    let counted = Threads::run(4, WATCHDOG, |ranks| {
        ranks.all_gather("embeddings", &[0; 100]).expect("all_gather");
        let to: Vec<Vec<u8>> = (0..4).map(|rank| vec![0; 10 * rank]).collect();
        ranks.all_to_all("features", &to).expect("all_to_all");
        ranks
            .all_reduce("gradients", &mut [&mut [0.0; 1000]])
            .expect("all_reduce");
        ranks.broadcast("parameters", &mut [0; 50]).expect("broadcast");
        ranks.barrier("step").expect("barrier");
        ranks.traffic()
    });
    let volume = |sent, received| Volume { sent, received };
    for (rank, traffic) in (0_u64..).zip(&counted) {
        assert_eq!(traffic.of("embeddings"), volume(300, 300));
        assert_eq!(traffic.of("features"), volume(60 - 10 * rank, 30 * rank));
        // Twice three quarters of 4,000 bytes.
        assert_eq!(traffic.of("gradients"), volume(6000, 6000));
        let parameters = if rank == 0 { volume(150, 0) } else { volume(0, 50) };
        assert_eq!(traffic.of("parameters"), parameters);
        assert_eq!(traffic.of("step"), Volume::default());
        let total = 300 + 6000 + 30 * rank + parameters.received;
        assert_eq!(traffic.total().received, total);
    }
}
