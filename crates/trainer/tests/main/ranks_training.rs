//! Whole phases of training over ranks: who reads which rows, who writes, and going on with another number of ranks.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use blip2_core::weights::fingerprint;
use blip2_distributed::{Communicator, Threads, WATCHDOG};
use blip2_objectives::Terms;
use blip2_trainer::{
    Batch, FeatureSource, HeldOutLoss, Kept, Objective, Observer, OptimizerConfig, Origin, Precision,
    PrefixRows, Row, RowSource, Run, RunOptions, Schedule, StageRecipe, StepContext, TrainError, Trainer,
};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, Value};

const BATCH: usize = 8;

#[derive(Module, Debug)]
struct Line {
    slope: Param<Tensor<1>>,
    height: Param<Tensor<1>>,
}

/// Rows by number; keeps a note of those that were asked for.
struct Numbers<'a>(&'a RefCell<Vec<(u64, u64)>>);

impl RowSource for Numbers<'_> {
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError> {
        let first = (step - 1) * BATCH as u64;
        let row = |index: u64| Row {
            index,
            key: format!("row {index}"),
            text: format!("one two three four {index}"),
            ..Row::default()
        };
        Ok((first..first + BATCH as u64).map(row).collect())
    }

    fn some_rows(&mut self, step: u64, places: std::ops::Range<usize>) -> Result<Vec<Row>, TrainError> {
        let rows = self.rows(step)?[places].to_vec();
        self.0
            .borrow_mut()
            .extend(rows.iter().map(|row| (step, row.index)));
        Ok(rows)
    }
}

/// Two numbers that a row's index decides.
struct Points;

impl FeatureSource for Points {
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        let point = |row: &Row| [(row.index as f32 * 0.7).sin(), (row.index as f32).sqrt()];
        let points: Vec<f32> = rows.iter().flat_map(point).collect();
        Ok(Tensor::from_data(
            TensorData::new(points, [rows.len(), 1, 2]),
            device,
        ))
    }
}

/// Lays a line through the points; the loss of some steps is no number.
struct Fit {
    bad: u64,
}

impl Objective<Line> for Fit {
    fn terms(&self, model: &Line, batch: &Batch, context: &StepContext<'_>) -> Result<Terms, TrainError> {
        let features = batch.features.clone().flatten::<2>(1, 2);
        let (x, y) = (features.clone().narrow(1, 0, 1), features.narrow(1, 1, 1));
        let slope = model.slope.val().reshape([1, 1]);
        let apart = x * slope + model.height.val().reshape([1, 1]) - y;
        let spoiled = if context.step == self.bad && context.part == 3 {
            f32::NAN
        } else {
            1.0
        };
        let mut terms = Terms::default();
        terms.add("apart", 1.0, apart.square().mean() * spoiled);
        Ok(terms)
    }
}

struct Nobody;

impl Observer for Nobody {
    fn phase(&self, _: &str, _: u64) {}
    fn step(&self, _: u64, _: &str) {}
    fn note(&self, _: &str) {}
}

fn stage(steps: u64) -> StageRecipe {
    StageRecipe {
        steps,
        batch: BATCH,
        parts: 4,
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
            weight_decay: 0.01,
            clip_norm: Some(1.0),
            ema: None,
        },
        maximum_temperature: None,
        precision: Precision::F32,
        recompute: Vec::new(),
        skip_bad_steps: 1,
        checkpoint_every: 4,
        keep: Kept::default(),
        log_every: 1,
        deterministic: true,
        compare_every: 3,
    }
}

/// What a rank has after its phase.
struct Outcome {
    model: Result<String, String>,
    lines: Vec<Map<String, Value>>,
    asked: Vec<(u64, u64)>,
}

/// Trains the first `steps` steps of `stage` in `folder` on `size` ranks; of those, each in `others` has another height to begin
/// with, which it must not keep.
fn train(
    folder: &Path,
    size: usize,
    stage: &StageRecipe,
    recipe: fn(&Communicator) -> &'static str,
) -> Vec<Outcome> {
    Threads::run(size, WATCHDOG, |ranks| {
        let asked = RefCell::default();
        let mut lines = Vec::new();
        let model = (|| {
            let mut run = Run::open(RunOptions {
                folder: folder.to_owned(),
                recipe: recipe(&ranks).to_owned(),
                data: None,
                seed: 1,
                resume: true,
                device: Device::flex(),
                observer: &Nobody,
                ranks: &ranks,
            })?;
            let device = run.device().clone();
            let number =
                |value: f32| Param::from_tensor(Tensor::<1>::from_data([value], &device).require_grad());
            let model = Line {
                slope: number(0.0),
                // Chance, on all but the first: all must begin as that one.
                height: number(ranks.rank() as f32),
            };
            let objective = Fit { bad: 6 };
            let held_out = HeldOutLoss {
                name: "held-out".to_owned(),
                every: 5,
                batches: (1..=3)
                    .map(|step| Numbers(&RefCell::default()).rows(step))
                    .collect::<Result<_, _>>()?,
                features: &Points,
                objective: &objective,
                seed: 1,
                device: Device::flex(),
                ranks: &ranks,
            };
            let mut trainer = Trainer {
                phase: "fit",
                stage,
                rows: &mut Numbers(&asked),
                features: &Points,
                objective: &objective,
                origin: |_| Origin::New,
                layers: None,
                evaluators: vec![Box::new(held_out)],
            };
            let trained = trainer.train(&mut run, model)?;
            lines = run.log().lines()?;
            Ok(fingerprint(&trained.model))
        })();
        Outcome {
            model: model.map_err(|error: TrainError| error.to_string()),
            lines,
            asked: asked.into_inner(),
        }
    })
}

fn same(_: &Communicator) -> &'static str {
    "steps = 11\n[fit]\nrate = 1"
}

/// The figures that the run decides, by step.
fn figures(lines: &[Map<String, Value>]) -> Vec<(u64, String)> {
    let figure = |line: &Map<String, Value>| {
        let step = line["step"].as_u64()?;
        let kept: Map<String, Value> = line
            .iter()
            .filter(|(name, _)| {
                ["loss", "apart", "gradient_norm", "held-out", "skipped", "keys"].contains(&name.as_str())
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Some((step, Value::Object(kept).to_string()))
    };
    lines.iter().filter_map(figure).collect()
}

#[test]
fn a_run_is_the_same_on_any_number_of_ranks_and_resumes_with_another() {
    let folder = || tempfile::tempdir().expect("folder");
    let alone = folder();
    let whole = train(alone.path(), 1, &stage(11), same).remove(0);
    let expected = figures(&whole.lines);
    assert_eq!(
        whole
            .lines
            .iter()
            .filter(|line| line.contains_key("skipped"))
            .count(),
        1
    );
    assert!(
        expected
            .iter()
            .any(|(step, line)| *step == 10 && line.contains("held-out"))
    );

    for size in [2, 4] {
        let together = folder();
        let outcomes = train(together.path(), size, &stage(11), same);
        assert!(
            outcomes.iter().all(|outcome| outcome.model == whole.model),
            "{size} ranks"
        );
        assert_eq!(figures(&outcomes[0].lines), expected, "{size} ranks");
        assert!(outcomes[1..].iter().all(|outcome| outcome.lines.is_empty()));
        // Every row of every step, once, by one of the ranks.
        let mut asked: Vec<_> = outcomes
            .iter()
            .flat_map(|outcome| outcome.asked.clone())
            .collect();
        asked.sort_unstable();
        let every: Vec<_> = (0..88).map(|index| (index / 8 + 1, index)).collect();
        assert_eq!(asked, every);
    }

    // Eight steps on two ranks, then on four, then the end on one.
    let broken = folder();
    train(broken.path(), 2, &stage(4), same);
    train(broken.path(), 4, &stage(8), same);
    let end = train(broken.path(), 1, &stage(11), same).remove(0);
    assert_eq!(end.model, whole.model);
    assert_eq!(end.asked.first(), Some(&(9, 64)));
}

#[test]
fn parts_that_ranks_cannot_share_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    for outcome in train(folder.path(), 3, &stage(2), same) {
        let error = outcome.model.expect_err("three ranks");
        assert!(
            error.contains("fit.parts is 4, which 3 ranks cannot share evenly"),
            "{error}"
        );
    }
}

#[test]
fn recipes_that_differ_are_named_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("folder");
    let place = folder.path().join("run");
    let other = |ranks: &Communicator| match ranks.rank() {
        1 => "steps = 11\n[fit]\nrate = 2",
        _ => "steps = 11\n[fit]\nrate = 1",
    };
    for outcome in train(&place, 2, &stage(2), other) {
        let error = outcome.model.expect_err("two recipes");
        assert!(
            error.contains("rank 1 of 2 has another recipe than rank 0"),
            "{error}"
        );
    }
    assert!(!place.exists());
}

#[test]
fn models_that_differ_in_shape_are_named() {
    let folder = tempfile::tempdir().expect("folder");
    let told = Threads::run(2, Duration::from_secs(60), |ranks| {
        let mut run = Run::open(RunOptions {
            folder: folder.path().to_owned(),
            recipe: same(&ranks).to_owned(),
            data: None,
            seed: 1,
            resume: true,
            device: Device::flex(),
            observer: &Nobody,
            ranks: &ranks,
        })
        .expect("a run");
        let device = run.device().clone();
        let zeros = |length: usize| Param::from_tensor(Tensor::<1>::zeros([length], &device).require_grad());
        let model = Line {
            slope: zeros(1),
            height: zeros(1 + ranks.rank()),
        };
        let mut trainer = Trainer {
            phase: "fit",
            stage: &stage(2),
            rows: &mut Numbers(&RefCell::default()),
            features: &Points,
            objective: &Fit { bad: 0 },
            origin: |_| Origin::New,
            layers: None,
            evaluators: Vec::new(),
        };
        let trained = trainer.train(&mut run, model);
        trained.map(drop).expect_err("two shapes").to_string()
    });
    for error in told {
        assert!(
            error.contains("rank 1 of 2 has another shape of height than rank 0: [2] there, [1] on rank 0"),
            "{error}"
        );
    }
}

#[test]
fn some_rows_are_cut_as_all_of_them() {
    let asked = RefCell::default();
    let mut rows = PrefixRows {
        rows: Numbers(&asked),
        seed: 3,
    };
    let texts = |rows: Vec<Row>| {
        rows.into_iter()
            .map(|row| (row.prompt, row.text))
            .collect::<Vec<_>>()
    };
    let all = texts(rows.rows(4).expect("rows"));
    let parts = [0..3, 3..4, 4..8].map(|places| texts(rows.some_rows(4, places).expect("rows")));
    assert_eq!(parts.concat(), all);
}
