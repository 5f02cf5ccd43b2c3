//! The loop that every phase of training runs in.

use std::time::Instant;

use blip2_core::with_recomputed;
use blip2_kernels::{multiplies_bf16, recomputes_on, with_products};
use blip2_objectives::{StepGradients, SumOrder};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::checkpoint::{Checkpoints, State};
use crate::layer_rates::BEHIND;
use crate::measured::{Measured, StepFigures};
use crate::ranks::{Share, begin_together, is_the_same};
use crate::rates::Origin;
use crate::{
    Batch, Evaluator, FeatureSource, Group, LayerRates, Objective, Optimizer, Precision, Row, RowSource, Run,
    StageRecipe, StepContext, TrainError, is_decayed,
};

/// All that decides a phase of training but the model that it starts from.
pub struct Trainer<'a, M: Module> {
    /// Names the phase in the log, and its checkpoints.
    pub phase: &'a str,
    /// Steps, rates, precision.
    pub stage: &'a StageRecipe,
    /// What there is to learn from, in order.
    pub rows: &'a mut dyn RowSource,
    /// What the frozen encoder makes of the pictures.
    pub features: &'a dyn FeatureSource,
    /// What is to be learned.
    pub objective: &'a dyn Objective<M>,
    /// Where each parameter's first value comes from, by its path.
    pub origin: fn(&str) -> Origin,
    /// How fast the layers of an encoder learn that is trained, too; absent where it is frozen.
    pub layers: Option<LayerRates>,
    /// What is measured on the way and at the end.
    pub evaluators: Vec<Box<dyn Evaluator<M> + 'a>>,
}

/// A model after its phase, and the seconds of training that it took.
pub struct Trained<M> {
    /// On the device that it was trained on, with autodiff.
    pub model: M,
    /// Of all sittings, evaluation on the way included.
    pub seconds: f64,
}

impl<M: Module> Trained<M> {
    /// The same off the tape.
    pub fn valid(self) -> Self {
        Self {
            model: self.model.valid(),
            seconds: self.seconds,
        }
    }
}

impl<M: Module> Trainer<'_, M> {
    /// How the parameter at `path` is moved where the schedule says `rate`.
    fn group(&self, path: &str, dimensions: usize, rate: f64) -> Group {
        let rate_of = |origin: Origin| origin.rate(rate, self.stage);
        match &self.layers {
            None => Group {
                rate: rate_of((self.origin)(path)),
                decays: is_decayed(path, dimensions),
            },
            Some(layers) => Group {
                rate: match path.strip_prefix(BEHIND) {
                    Some(path) => rate_of((self.origin)(path)),
                    None if layers.layer(path).is_none() => rate,
                    None => rate_of(Origin::Pretrained) * layers.scale(path),
                },
                decays: layers.is_decayed(path, dimensions),
            },
        }
    }

    /// Trains `model` for the steps of the stage, from the newest checkpoint of the phase where there is one: the first rank's, with
    /// which all begin, however many there were when it was written.
    ///
    /// # Errors
    /// [`TrainError`]; the checkpoints so far stay.
    pub fn train(&mut self, run: &mut Run<'_>, model: M) -> Result<Trained<M>, TrainError> {
        let stage = self.stage;
        let mut checkpoints = Checkpoints::new(&run.folder, self.phase, stage.keep.clone());
        let ranks = run.ranks;
        let share = Share::new(self.phase, stage, ranks)?;
        if !stage.recompute.is_empty() && !recomputes_on(&run.device) {
            return Err(TrainError::Recipe {
                path: "recipe.toml".into(),
                reason: format!(
                    "{}.recompute: blocks are computed again on the processor alone: drop it, or choose --device flex",
                    self.phase
                ),
            });
        }
        let (model, found) = match ranks.is_first() {
            true => checkpoints.latest(model, &run.recipe, &run.device)?,
            false => (model, None),
        };
        let found = found.unwrap_or_else(|| (Optimizer::new(), State::beginning(&run.recipe)));
        let (mut model, mut optimizer, mut done) =
            begin_together(ranks, self.phase, model, found, &run.device)?;
        run.begin(self.phase, done.step, stage.steps)?;
        // On other devices the backend decides.
        let on_processor = run.device == Device::flex();
        if stage.precision == Precision::Bf16 && on_processor && !multiplies_bf16() && ranks.is_first() {
            tracing::warn!(
                "precision = \"bf16\": the processor has no unit for bfloat16, so products are made in single precision"
            );
        }
        let started = Instant::now();
        let seconds_before = done.seconds;
        let mut measured = Measured::new(self.phase, stage, done.skipped, ranks);
        for step in done.step + 1..=stage.steps {
            let context = StepContext {
                step,
                seed: run.seed,
                part: 0,
                parts: stage.parts,
                ranks,
                order: match stage.deterministic {
                    true => SumOrder::Fixed,
                    false => SumOrder::Free,
                },
            };
            run.device.seed(context.device_seed());
            let waited = Instant::now();
            let rows = self.rows.some_rows(step, share.rows.clone())?;
            let data_wait = waited.elapsed();
            let features = self.features(&rows, &share, &run.device)?;
            let batch = Batch { rows, features };
            let learn = || self.objective.gradients(&model, &batch, &context);
            let learn = || with_recomputed(&stage.recompute, learn);
            let StepGradients { gradients, terms } = with_products(stage.precision.into(), learn)?;
            let rate = stage.schedule.rate(step, stage.steps);
            let group = |path: &str, dimensions| self.group(path, dimensions, rate);
            let (moved, norm) = optimizer.step_in_groups(model, &gradients, &stage.optimizer, &group);
            model = self.objective.settle(moved);

            done = State {
                step,
                seconds: seconds_before + started.elapsed().as_secs_f64(),
                // Of this step: a checkpoint between two evaluations has none.
                score: None,
                ..done
            };
            measured.push(StepFigures::new(step, &batch, &terms, norm, data_wait)?);
            let is_last = step == stage.steps;
            let saves = step.is_multiple_of(stage.checkpoint_every) || is_last;
            let evaluates = |every: u64| is_last || (every > 0 && step.is_multiple_of(every));
            if saves || step.is_multiple_of(stage.compare_every) {
                is_the_same(ranks, &model, step)?;
            }
            if step.is_multiple_of(stage.log_every) || step == 1 || saves {
                done.skipped = measured.read(run, rate, done.seconds)?;
            }
            run.observer.step(step, measured.line());
            for evaluator in &mut self.evaluators {
                if evaluates(evaluator.every()) {
                    let figures = evaluator.evaluate(&optimizer.averaged(model.clone()), step)?;
                    done.score = stage.keep.score(evaluator.name(), &figures)?.or(done.score);
                    run.log_figures(self.phase, step, evaluator.name(), figures)?;
                }
            }
            if saves && ranks.is_first() {
                checkpoints.save(&model, &optimizer, &done)?;
            }
        }
        checkpoints.finish()?;
        Ok(Trained {
            model: optimizer.averaged(model),
            seconds: done.seconds,
        })
    }

    /// Features of the rows of this rank. To be the same on any number of ranks to the bit, they are computed part by part: kernels
    /// may add up in another order where there are more rows.
    fn features(&self, rows: &[Row], share: &Share, device: &Device) -> Result<Tensor<3>, TrainError> {
        if !self.stage.deterministic || share.parts.len() == 1 {
            return self.features.features(rows, device);
        }
        let parts = rows.chunks(rows.len() / share.parts.len());
        let features = parts.map(|rows| self.features.features(rows, device));
        Ok(Tensor::cat(features.collect::<Result<_, _>>()?, 0))
    }
}
