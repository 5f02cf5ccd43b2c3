//! The loop that every phase of training runs in.

use std::path::PathBuf;
use std::time::Instant;

use blip2_kernels::with_products;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::{Map, Value, json};

use crate::checkpoint::{Checkpoints, State};
use crate::{Observer, Optimizer, RunLog, StageRecipe, TrainError};

/// What all phases of a run share.
pub(crate) struct Context<'a> {
    pub(crate) run: PathBuf,
    /// SHA-256 of the resolved recipe.
    pub(crate) recipe: String,
    pub(crate) seed: u64,
    pub(crate) log: RunLog,
    pub(crate) observer: &'a dyn Observer,
    /// An autodiff device.
    pub(crate) device: Device,
}

/// The loss of one step and what of it is logged.
pub(crate) struct StepLoss {
    /// `[1]`, to go down.
    pub(crate) total: Tensor<1>,
    /// Figures by name.
    pub(crate) terms: Vec<(&'static str, f64)>,
}

/// What a parameter is as training begins.
pub(crate) enum Origin {
    /// Random.
    New,
    /// Trained before.
    Pretrained,
    /// The learned queries: many steps of the full rate are larger than they are, and all of them would run the same way.
    Queries,
}

/// What a phase of training is about.
pub(crate) trait Task<M> {
    /// The loss of `step` (from 1): the same for the same step, whatever came before.
    fn loss(&mut self, model: &M, step: u64) -> Result<StepLoss, TrainError>;

    /// Where a parameter's first value comes from, which decides its learning rate.
    fn origin(&self, path: &str) -> Origin;

    /// Puts bounds back in place after a step.
    fn settle(&self, model: M) -> M {
        model
    }
}

/// A model after its phase, and the seconds of training that it took.
pub(crate) struct Trained<M> {
    pub(crate) model: M,
    pub(crate) seconds: f64,
}

/// Trains `model` for the steps of `stage`, from the newest checkpoint where there is one.
pub(crate) fn train<M: Module>(
    context: &mut Context<'_>,
    phase: &str,
    stage: &StageRecipe,
    model: M,
    task: &mut dyn Task<M>,
) -> Result<Trained<M>, TrainError> {
    let checkpoints = Checkpoints::new(&context.run, phase);
    let (mut model, found) = checkpoints.latest(model, &context.recipe, &context.device)?;
    let (mut optimizer, done, before) = match found {
        Some((optimizer, state)) => (optimizer, state.step, state.seconds),
        None => (Optimizer::new(), 0, 0.0),
    };
    if done < stage.steps {
        context.log.rewind(phase, done)?;
    }
    context.observer.phase(phase, stage.steps);
    let started = Instant::now();
    for step in done + 1..=stage.steps {
        context
            .device
            .seed(context.seed.wrapping_mul(0x9E37_79B9).wrapping_add(step));
        let loss = with_products(stage.precision.into(), || task.loss(&model, step))?;
        let total = f64::from(loss.total.clone().into_scalar::<f32>());
        finite(phase, step, "loss", total)?;
        let rate = stage.schedule.rate(step, stage.steps);
        let gradients = loss.total.backward();
        let rate_of = |path: &str| match task.origin(path) {
            Origin::New => rate,
            Origin::Pretrained => rate * stage.pretrained_rate,
            Origin::Queries => rate * stage.query_rate,
        };
        let (moved, report) = optimizer.step(model, &gradients, &stage.optimizer, &rate_of);
        model = task.settle(moved);
        finite(phase, step, "gradient norm", report.gradient_norm)?;

        let seconds = before + started.elapsed().as_secs_f64();
        context.observer.step(step, &summary(total, &loss.terms));
        if step.is_multiple_of(stage.log_every) || step == 1 || step == stage.steps {
            let mut line = Map::new();
            line.insert("phase".into(), json!(phase));
            line.insert("step".into(), json!(step));
            line.insert("loss".into(), json!(total));
            for (name, value) in &loss.terms {
                line.insert((*name).into(), json!(value));
            }
            line.insert("learning_rate".into(), json!(rate));
            line.insert("gradient_norm".into(), json!(report.gradient_norm));
            line.insert("seconds".into(), json!(seconds));
            context.log.write(line)?;
        }
        if step.is_multiple_of(stage.checkpoint_every) || step == stage.steps {
            let state = State {
                step,
                recipe: context.recipe.clone(),
                seconds,
            };
            checkpoints.save(&model, &optimizer, &state)?;
        }
    }
    Ok(Trained {
        model,
        seconds: before + started.elapsed().as_secs_f64(),
    })
}

fn finite(phase: &str, step: u64, what: &str, value: f64) -> Result<(), TrainError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(TrainError::Diverged {
        phase: phase.to_owned(),
        step,
        what: what.to_owned(),
        value,
    })
}

fn summary(total: f64, terms: &[(&str, f64)]) -> String {
    let terms: Vec<String> = terms
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect();
    format!("loss {total:.3}  {}", terms.join("  "))
}

/// The points of one figure of a phase in the log.
pub(crate) fn curve(lines: &[Map<String, Value>], phase: &str, name: &str) -> Vec<(u64, f64)> {
    lines
        .iter()
        .filter(|line| line.get("phase").is_some_and(|value| value == phase))
        .filter_map(|line| Some((line.get("step")?.as_u64()?, line.get(name)?.as_f64()?)))
        .collect()
}
