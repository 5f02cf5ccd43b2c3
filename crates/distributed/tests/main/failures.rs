//! A collective that fails says which, of what shape, on which rank, and who is at fault.

use std::time::{Duration, Instant};

use blip2_distributed::{CollectiveError, Communicator, EngineError, Threads, WATCHDOG, connect};

/// What each of three ranks is told.
fn told(
    watchdog: Duration,
    act: impl Fn(&Communicator) -> Result<(), CollectiveError> + Sync,
) -> Vec<Result<(), CollectiveError>> {
    Threads::run(3, watchdog, |ranks| act(&ranks))
}

fn message(result: &Result<(), CollectiveError>) -> String {
    let error = result.as_ref().expect_err("a failure");
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn shapes_that_differ_are_named_before_anything_is_summed() {
    let told = told(WATCHDOG, |ranks| {
        let mut values = vec![0.0; if ranks.rank() == 1 { 4 } else { 6 }];
        ranks.all_reduce("gradients", &mut [&mut values])
    });
    let first = message(&told[0]);
    assert!(
        first.starts_with(
            "all_reduce of `gradients` [6], on rank 0 of 3: rank 1 is at all_reduce of `gradients` [4]"
        ),
        "{first}"
    );
    assert!(
        message(&told[1]).starts_with("all_reduce of `gradients` [4], on rank 1 of 3: rank 0 is at"),
        "{told:?}"
    );
}

#[test]
fn a_rank_that_is_elsewhere_is_named() {
    let told = told(WATCHDOG, |ranks| match ranks.rank() {
        2 => ranks.barrier("checkpoint"),
        _ => ranks.all_gather("embeddings", &[0; 8]).map(drop),
    });
    let first = message(&told[0]);
    assert!(
        first.starts_with(
            "all_gather of `embeddings` (8 bytes), on rank 0 of 3: rank 2 is at barrier `checkpoint`"
        ),
        "{first}"
    );
    assert!(told.iter().all(Result::is_err));
}

#[test]
fn a_silent_rank_is_named_within_the_time_of_the_watchdog() {
    let begun = Instant::now();
    let told = told(Duration::from_millis(100), |ranks| match ranks.rank() {
        1 => {
            std::thread::sleep(Duration::from_millis(400));
            Ok(())
        }
        _ => ranks.barrier("step"),
    });
    for rank in [0, 2] {
        let Err(CollectiveError::Engine { source, .. }) = &told[rank] else {
            panic!("{told:?}")
        };
        let EngineError::Silent { waited, ranks } = source else {
            panic!("{told:?}")
        };
        assert!(
            *waited >= Duration::from_millis(100) && ranks.contains(&1),
            "{told:?}"
        );
        assert!(message(&told[rank]).contains(&format!("barrier `step`, on rank {rank} of 3: rank")));
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_rank_that_has_ended_is_not_waited_for() {
    let begun = Instant::now();
    let told = told(WATCHDOG, |ranks| match ranks.rank() {
        1 => Ok(()),
        _ => ranks.all_reduce("gradients", &mut [&mut [0.0]]),
    });
    assert!(message(&told[0]).ends_with("rank 1 has ended"), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn facts_that_differ_are_named() {
    let facts = |recipe: &str| {
        [("program", "1"), ("recipe", recipe), ("data", "same")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let agreed = told(WATCHDOG, |ranks| ranks.agree(&facts("abc")));
    assert!(agreed.iter().all(Result::is_ok), "{agreed:?}");
    let told = told(WATCHDOG, |ranks| {
        ranks.agree(&facts(if ranks.rank() == 2 { "xyz" } else { "abc" }))
    });
    for (rank, told) in told.iter().enumerate() {
        let message = message(told);
        assert!(
            message.starts_with("rank 2 of 3 has another recipe than rank 0: xyz there, abc on rank 0")
                && message.contains(&format!("this is rank {rank}")),
            "{message}"
        );
    }
    let shorter = self::told(WATCHDOG, |ranks| {
        ranks.agree(&facts("abc")[..if ranks.rank() == 1 { 2 } else { 3 }])
    });
    assert!(
        message(&shorter[0]).starts_with("rank 1 of 3 has another data than rank 0: nothing there"),
        "{shorter:?}"
    );
}

#[test]
fn a_process_that_nobody_launched_is_alone() {
    let ranks = connect(WATCHDOG, None).expect("nothing to connect");
    assert!(ranks.is_alone() && ranks.is_first());
}
