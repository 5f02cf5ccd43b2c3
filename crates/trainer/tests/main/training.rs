//! The loop, with every part of it brought by the caller: a model, rows, features, an objective, an evaluator.

use std::cell::RefCell;
use std::path::Path;

use blip2_core::weights::fingerprint;
use blip2_distributed::Communicator;
use blip2_objectives::Terms;
use blip2_trainer::{
    Batch, Evaluator, FeatureSource, Kept, Objective, Observer, OptimizerConfig, Origin, Precision, Row,
    RowSource, Run, RunOptions, Schedule, StageRecipe, StepContext, TrainError, Trained, Trainer,
};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, Value};

#[derive(Module, Debug)]
struct Point {
    place: Param<Tensor<1>>,
}

/// Four rows a step, named by their number.
struct Numbers;

impl RowSource for Numbers {
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError> {
        let row = |index: u64| Row {
            index,
            key: format!("row {index}"),
            ..Row::default()
        };
        Ok((4 * step..4 * step + 4).map(row).collect())
    }
}

/// A feature of one number: the root of the row's.
struct Roots;

impl FeatureSource for Roots {
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        let roots: Vec<f32> = rows.iter().map(|row| (row.index as f32).sqrt()).collect();
        Ok(Tensor::from_data(
            TensorData::new(roots, [rows.len(), 1, 1]),
            device,
        ))
    }
}

/// Goes to the mean feature; the loss of some steps is no number.
struct Mean {
    bad: &'static [u64],
}

impl Objective<Point> for Mean {
    fn terms(&self, model: &Point, batch: &Batch, context: &StepContext<'_>) -> Result<Terms, TrainError> {
        let apart = model.place.val() - batch.features.clone().mean();
        let spoiled = if self.bad.contains(&context.step) {
            f32::NAN
        } else {
            1.0
        };
        let mut terms = Terms::default();
        terms.add("near", 1.0, apart.clone().square() * spoiled);
        terms.add("far", 0.0, apart.clone().abs());
        terms.watch("place", model.place.val());
        Ok(terms)
    }
}

/// Notes when it is asked.
struct Asked<'a>(&'a RefCell<Vec<u64>>);

impl Evaluator<Point> for Asked<'_> {
    fn name(&self) -> &str {
        "asked"
    }

    fn every(&self) -> u64 {
        4
    }

    fn evaluate(&mut self, model: &Point, step: u64) -> Result<Vec<(String, f64)>, TrainError> {
        self.0.borrow_mut().push(step);
        Ok(vec![("place".to_owned(), model.place.val().into_scalar())])
    }
}

/// Keeps notes.
#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Observer for Notes {
    fn phase(&self, _: &str, _: u64) {}
    fn step(&self, _: u64, _: &str) {}
    fn note(&self, line: &str) {
        self.0.borrow_mut().push(line.to_owned());
    }
}

fn stage(steps: u64, skip_bad_steps: u64) -> StageRecipe {
    StageRecipe {
        steps,
        batch: 4,
        parts: 1,
        weights: None,
        itg_mean: None,
        from: None,
        prefix_language_modelling: false,
        image_ids: false,
        reads: blip2::Reads::Nothing,
        text_from: None,
        interleaved: None,
        schedule: Schedule {
            peak: 0.1,
            minimum: 0.1,
            warmup_steps: 0,
        },
        pretrained_rate: 1.0,
        query_rate: 1.0,
        optimizer: OptimizerConfig {
            betas: [0.9, 0.98],
            weight_decay: 0.0,
            clip_norm: Some(1.0),
            ema: None,
        },
        maximum_temperature: None,
        precision: Precision::F32,
        recompute: Vec::new(),
        skip_bad_steps,
        checkpoint_every: 5,
        keep: Kept::default(),
        log_every: 3,
        deterministic: false,
        compare_every: 1000,
    }
}

struct Outcome {
    trained: Result<Trained<Point>, TrainError>,
    lines: Vec<Map<String, Value>>,
    notes: Vec<String>,
    asked: Vec<u64>,
}

fn train(folder: &Path, stage: &StageRecipe, bad: &'static [u64]) -> Outcome {
    let (notes, asked) = (Notes::default(), RefCell::default());
    let mut run = Run::open(RunOptions {
        folder: folder.to_owned(),
        recipe: "is = \"the same\"".to_owned(),
        data: None,
        seed: 1,
        resume: true,
        device: Device::flex(),
        observer: &notes,
        ranks: Communicator::alone(),
    })
    .expect("a run folder");
    let place = Tensor::<1>::zeros([1], run.device()).require_grad();
    let model = Point {
        place: Param::from_tensor(place),
    };
    let trained = Trainer {
        phase: "walk",
        stage,
        rows: &mut Numbers,
        features: &Roots,
        objective: &Mean { bad },
        origin: |_| Origin::New,
        layers: None,
        evaluators: vec![Box::new(Asked(&asked))],
    }
    .train(&mut run, model);
    let lines = run.log().lines().expect("lines");
    drop(run);
    Outcome {
        trained,
        lines,
        notes: notes.0.into_inner(),
        asked: asked.into_inner(),
    }
}

fn steps(lines: &[Map<String, Value>], key: &str) -> Vec<u64> {
    let with_key = lines.iter().filter(|line| line.contains_key(key));
    with_key
        .map(|line| line["step"].as_u64().expect("a step"))
        .collect()
}

#[test]
fn figures_are_read_now_and_then_and_evaluators_asked_in_their_turn() {
    let folder = tempfile::tempdir().expect("folder");
    let outcome = train(folder.path(), &stage(11, 0), &[]);
    outcome.trained.expect("trained");
    // Every third, the first, the last, and before each checkpoint.
    assert_eq!(steps(&outcome.lines, "loss"), [1, 3, 5, 6, 9, 10, 11]);
    assert_eq!(outcome.asked, [4, 8, 11]);
    assert_eq!(steps(&outcome.lines, "asked"), [4, 8, 11]);
    let first = &outcome.lines[0];
    assert_eq!(first["loss"], first["near"]);
    let [near, far] = ["near", "far"].map(|name| first[name].as_f64().expect("a number"));
    assert!((far * far - near).abs() < 1e-6, "{near} {far}");
    assert_eq!(first["place"], 0.0);
    for measured in ["samples_per_second", "data_wait", "seconds", "gradient_norm"] {
        assert!(
            first[measured].as_f64().is_some_and(|value| value >= 0.0),
            "{measured}"
        );
    }
}

#[test]
fn a_run_that_was_stopped_ends_where_an_unbroken_one_ends() {
    let (whole, broken) = (
        tempfile::tempdir().expect("folder"),
        tempfile::tempdir().expect("folder"),
    );
    let unbroken = train(whole.path(), &stage(11, 2), &[2, 7])
        .trained
        .expect("trained");
    // The loop ends at step 8 with an error; the checkpoint of step 5 is whole.
    let stopped = train(broken.path(), &stage(11, 1), &[2, 7]);
    assert!(stopped.trained.is_err());
    let resumed = train(broken.path(), &stage(11, 2), &[2, 7]);
    assert_eq!(
        fingerprint(&resumed.trained.expect("trained").model),
        fingerprint(&unbroken.model)
    );
    assert_eq!(steps(&resumed.lines, "loss"), [1, 3, 5, 6, 9, 10, 11]);
    assert_eq!(steps(&resumed.lines, "skipped"), [2, 7]);
}

#[test]
fn bad_steps_are_skipped_by_name_until_there_are_too_many() {
    let folder = tempfile::tempdir().expect("folder");
    let outcome = train(folder.path(), &stage(11, 2), &[2, 7]);
    let model = outcome.trained.expect("trained").model;
    assert!(model.place.val().into_scalar::<f32>().is_finite());
    let skipped: Vec<_> = outcome
        .lines
        .iter()
        .filter(|line| line.contains_key("skipped"))
        .collect();
    assert_eq!(
        skipped[0]["keys"],
        serde_json::json!(["row 8", "row 9", "row 10", "row 11"])
    );
    assert_eq!(skipped[1]["step"], 7);
    assert_eq!(outcome.notes.len(), 2, "{:?}", outcome.notes);

    let folder = tempfile::tempdir().expect("folder");
    let error = train(folder.path(), &stage(11, 1), &[2, 7])
        .trained
        .err()
        .expect("too many");
    let TrainError::Diverged { step, skipped, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*step, *skipped), (7, 1), "{error}");
    let checkpoints = folder.path().join("checkpoints/walk");
    let last = std::fs::read_dir(checkpoints)
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name());
    assert_eq!(last.collect::<Vec<_>>(), ["step-00000005"]);
}
