//! A run that was stopped and resumed ends bit for bit where an unbroken one ends.

use blip2_core::weights::fingerprint;
use blip2_trainer::{Checkpoints, Kept, Optimizer, State};

use crate::steps::{device, fresh, train};

#[test]
fn two_steps_a_checkpoint_and_two_steps_are_four_steps() {
    let mut optimizer = Optimizer::new();
    let straight = train(fresh(), &mut optimizer, 1..=4);
    let straight_moments = optimizer.state();

    let run = tempfile::tempdir().expect("folder");
    let mut checkpoints = Checkpoints::new(run.path(), "stage1", Kept::default());
    let mut optimizer = Optimizer::new();
    let half = train(fresh(), &mut optimizer, 1..=2);
    let state = State {
        step: 2,
        recipe: "recipe".to_owned(),
        seconds: 0.25,
        skipped: 0,
        score: None,
    };
    checkpoints.save(&half, &optimizer, &state).expect("saving");
    checkpoints.finish().expect("written");
    drop((half, optimizer));

    let (model, found) = checkpoints.latest(fresh(), "recipe", &device()).expect("loading");
    let (mut optimizer, found) = found.expect("a checkpoint");
    assert_eq!((found, optimizer.steps()), (state, 2));
    let resumed = train(model, &mut optimizer, 3..=4);

    assert_eq!(fingerprint(&resumed), fingerprint(&straight));
    assert_eq!(optimizer.steps(), 4);
    let moments = optimizer.state();
    assert_eq!(moments.len(), straight_moments.len());
    for ((name, ours), (expected_name, expected)) in moments.iter().zip(&straight_moments) {
        assert_eq!((name, ours.as_bytes()), (expected_name, expected.as_bytes()));
    }
    assert_ne!(
        fingerprint(&train(fresh(), &mut Optimizer::new(), 1..=3)),
        fingerprint(&straight)
    );
}
