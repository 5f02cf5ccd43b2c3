//! Checkpoints exist whole or not at all: whatever is damaged, the one before is taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use blip2_core::weights::fingerprint;
use blip2_qformer::RepresentationModel;
use blip2_trainer::{Checkpoints, Kept, Optimizer, State, TrainError};
use tempfile::TempDir;

use crate::steps::{device, fresh, train};

const RECIPE: &str = "digest of the recipe";
const FILES: [&str; 4] = [
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
];

/// A run with a checkpoint after each of `steps` steps, and the fingerprints of the model at each.
struct Run {
    folder: TempDir,
    fingerprints: Vec<String>,
}

impl Run {
    fn of(steps: u64) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut checkpoints = Checkpoints::new(folder.path(), "stage1", Kept::default());
        let (mut model, mut optimizer, mut fingerprints) = (fresh(), Optimizer::new(), Vec::new());
        for step in 1..=steps {
            model = train(model, &mut optimizer, step..=step);
            checkpoints
                .save(&model, &optimizer, &state(step))
                .expect("saving");
            fingerprints.push(fingerprint(&model));
        }
        checkpoints.finish().expect("written");
        Self { folder, fingerprints }
    }

    fn phase(&self) -> PathBuf {
        self.folder.path().join("checkpoints").join("stage1")
    }

    fn place(&self, step: u64) -> PathBuf {
        self.phase().join(format!("step-{step:08}"))
    }

    fn latest(&self) -> (RepresentationModel, Option<(Optimizer, State)>) {
        Checkpoints::new(self.folder.path(), "stage1", Kept::default())
            .latest(fresh(), RECIPE, &device())
            .expect("loading")
    }

    /// Asserts that the checkpoint of `step` is the one found, whole.
    fn assert_latest(&self, step: u64, what: &str) {
        let (model, found) = self.latest();
        let (optimizer, found) = found.unwrap_or_else(|| panic!("{what}: no checkpoint"));
        assert_eq!((found, optimizer.steps()), (state(step), step), "{what}");
        assert_eq!(
            fingerprint(&model),
            self.fingerprints[step as usize - 1],
            "{what}"
        );
    }
}

fn state(step: u64) -> State {
    State {
        step,
        recipe: RECIPE.to_owned(),
        seconds: step as f64,
        skipped: 0,
        score: None,
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("folder");
    entries
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect()
}

/// A way in which a file can be spoilt.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 5] = [
    ("deleted", |file| fs::remove_file(file).expect("removing")),
    ("emptied", |file| fs::write(file, []).expect("writing")),
    ("cut in half", |file| {
        let bytes = fs::read(file).expect("reading");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("writing");
    }),
    ("one bit flipped", |file| {
        let mut bytes = fs::read(file).expect("reading");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).expect("writing");
    }),
    ("replaced by a folder", |file| {
        fs::remove_file(file).expect("removing");
        fs::create_dir(file).expect("creating");
    }),
];

#[test]
fn any_damage_falls_back_to_the_one_before() {
    let run = Run::of(2);
    let kept = tempfile::tempdir().expect("folder");
    for file in FILES {
        let path = run.place(2).join(file);
        fs::copy(&path, kept.path().join(file)).expect("copying");
        for (damage, apply) in DAMAGES {
            run.assert_latest(2, "before any damage");
            apply(&path);
            run.assert_latest(1, &format!("{file} {damage}"));
            if path.is_dir() {
                fs::remove_dir(&path).expect("removing");
            }
            fs::copy(kept.path().join(file), &path).expect("copying");
        }
    }
    run.assert_latest(2, "after all repairs");
}

#[test]
fn where_nothing_is_whole_the_run_begins_anew() {
    let run = Run::of(2);
    for step in [1, 2] {
        fs::remove_file(run.place(step).join("manifest.json")).expect("removing");
    }
    let (model, found) = run.latest();
    assert!(found.is_none());
    assert_eq!(fingerprint(&model), fingerprint(&fresh()));

    let empty = tempfile::tempdir().expect("folder");
    let (_, found) = Checkpoints::new(empty.path(), "stage1", Kept::default())
        .latest(fresh(), RECIPE, &device())
        .expect("loading");
    assert!(found.is_none());
    assert!(names(empty.path()).is_empty(), "looking leaves nothing behind");
}

#[test]
fn another_recipe_is_refused() {
    let run = Run::of(1);
    let checkpoints = Checkpoints::new(run.folder.path(), "stage1", Kept::default());
    let error = checkpoints
        .latest(fresh(), "another digest", &device())
        .err()
        .expect("a refusal");
    assert!(
        matches!(&error, TrainError::Run { path, .. } if *path == run.place(1)),
        "{error}"
    );
    assert!(error.to_string().contains("another recipe"), "{error}");
}

#[test]
fn the_newest_two_are_kept() {
    let run = Run::of(4);
    assert_eq!(
        names(&run.phase()),
        BTreeSet::from(["step-00000003", "step-00000004"].map(str::to_owned))
    );
    assert_eq!(names(&run.place(4)), BTreeSet::from(FILES.map(str::to_owned)));
    run.assert_latest(4, "the newest");
}

#[test]
fn the_best_is_kept_beside_the_newest() {
    for (largest, expected) in [(false, [2, 5]), (true, [4, 5])] {
        let folder = tempfile::tempdir().expect("folder");
        let kept = Kept {
            newest: 1,
            best: Some("held-out/loss".to_owned()),
            largest,
        };
        let mut checkpoints = Checkpoints::new(folder.path(), "stage1", kept);
        let scores = [Some(3.0), Some(1.0), None, Some(4.0), Some(2.0)];
        for (step, score) in (1..).zip(scores) {
            let state = State { score, ..state(step) };
            checkpoints
                .save(&fresh(), &Optimizer::new(), &state)
                .expect("saving");
        }
        checkpoints.finish().expect("written");
        let kept = names(&folder.path().join("checkpoints/stage1"));
        assert_eq!(
            kept,
            BTreeSet::from(expected.map(|step| format!("step-{step:08}")))
        );
    }
}

#[test]
fn leftovers_of_a_killed_run_are_ignored_and_replaced() {
    let run = Run::of(1);
    let leftover = run.phase().join("step-00000002.partial");
    fs::create_dir(&leftover).expect("creating");
    for file in FILES {
        fs::copy(run.place(1).join(file), leftover.join(file)).expect("copying");
    }
    fs::write(leftover.join("model.safetensors"), "half").expect("writing");
    run.assert_latest(1, "beside a leftover");

    let mut optimizer = Optimizer::new();
    let model = train(fresh(), &mut optimizer, 1..=2);
    Checkpoints::new(run.folder.path(), "stage1", Kept::default())
        .save(&model, &optimizer, &state(2))
        .expect("saving");
    assert_eq!(
        names(&run.phase()),
        BTreeSet::from(["step-00000001", "step-00000002"].map(str::to_owned))
    );
    let (found, _) = run.latest();
    assert_eq!(fingerprint(&found), fingerprint(&model));
}

#[test]
fn a_step_taken_again_replaces_its_checkpoint() {
    let run = Run::of(2);
    fs::write(run.place(2).join("state.json"), "damaged").expect("writing");
    let (model, found) = run.latest();
    let (mut optimizer, _) = found.expect("the first checkpoint");
    let model = train(model, &mut optimizer, 2..=2);
    Checkpoints::new(run.folder.path(), "stage1", Kept::default())
        .save(&model, &optimizer, &state(2))
        .expect("saving");
    run.assert_latest(2, "the second, taken again");
}

#[test]
fn phases_do_not_see_each_other() {
    let run = Run::of(1);
    let (_, found) = Checkpoints::new(run.folder.path(), "stage2", Kept::default())
        .latest(fresh(), RECIPE, &device())
        .expect("loading");
    assert!(found.is_none());
}

#[test]
fn a_model_of_other_sizes_is_an_error_not_a_damage() {
    let run = Run::of(1);
    let mut config = crate::tiny::config();
    config.qformer.intermediate_size = 40;
    let other = crate::tiny::model(&config, &device());
    let error = Checkpoints::new(run.folder.path(), "stage1", Kept::default())
        .latest(other, RECIPE, &device())
        .err();
    assert!(matches!(&error, Some(TrainError::Weights(_))), "{error:?}");
}
