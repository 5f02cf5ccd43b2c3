//! Evaluation against cases counted by hand, and against what must hold for any input.

mod answers;
mod caption;
mod golden;
mod golden_retrieval;
mod java;
mod official;
mod retrieval;
mod text;
mod tokenise;
mod vqa;

use proptest::test_runner::{Config, RngSeed};

/// The same cases in every run, and no file of them.
fn same_every_time() -> Config {
    Config {
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..Config::default()
    }
}
