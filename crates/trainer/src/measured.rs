//! What steps measured: left on the device, read together now and then.

use std::time::{Duration, Instant};

use blip2_distributed::{Communicator, Traffic, Volume};
use blip2_kernels::{GradientNorm, Scalar};
use blip2_objectives::Terms;
use burn::tensor::Tensor;
use serde_json::{Map, Value, json};

use crate::{Batch, Run, StageRecipe, TrainError};

/// What is left of a step after it: scalars on the device, and which batch it was.
pub(crate) struct StepFigures {
    step: u64,
    keys: Vec<String>,
    /// `[1]`, without graph, as the terms.
    total: Tensor<1>,
    terms: Vec<(&'static str, Tensor<1>)>,
    norm: GradientNorm,
    data_wait: Duration,
}

impl StepFigures {
    pub(crate) fn new(
        step: u64,
        batch: &Batch,
        terms: &Terms,
        norm: GradientNorm,
        data_wait: Duration,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            step,
            keys: batch.rows.iter().map(|row| row.key.clone()).collect(),
            total: terms.total().ok_or(TrainError::NothingToLearn)?,
            terms: terms.iter().map(|term| (term.name, term.value.clone())).collect(),
            norm,
            data_wait,
        })
    }
}

/// The steps since figures were last read.
pub(crate) struct Measured<'a> {
    phase: &'a str,
    stage: &'a StageRecipe,
    steps: Vec<StepFigures>,
    since: Instant,
    /// Steps that were skipped so far.
    skipped: u64,
    line: String,
    ranks: &'a Communicator,
    /// What had travelled by then.
    travelled: Traffic,
}

impl<'a> Measured<'a> {
    pub(crate) fn new(phase: &'a str, stage: &'a StageRecipe, skipped: u64, ranks: &'a Communicator) -> Self {
        Self {
            phase,
            stage,
            steps: Vec::new(),
            since: Instant::now(),
            skipped,
            line: String::new(),
            ranks,
            travelled: ranks.traffic(),
        }
    }

    pub(crate) fn push(&mut self, step: StepFigures) {
        self.steps.push(step);
    }

    /// What was last read, for people.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Reads all steps since the last time from the device, and writes the last of them into the log: one wait for all.
    /// Returns how many steps have been skipped in all, because their loss or gradient was no number; the optimiser has left
    /// the model as it was.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] where these are more than the recipe allows.
    pub(crate) fn read(&mut self, run: &mut Run<'_>, rate: f64, seconds: f64) -> Result<u64, TrainError> {
        let steps = std::mem::take(&mut self.steps);
        let elapsed = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let read = read(&steps);
        for (step, [loss, norm]) in steps.iter().zip(&read.losses) {
            for (what, value) in [("loss", loss), ("gradient norm", norm)] {
                if !value.is_finite() {
                    self.skip(run, step, what, *value)?;
                    break;
                }
            }
        }
        let (Some(last), Some([loss, norm])) = (steps.last(), read.losses.last()) else {
            return Ok(self.skipped);
        };
        let pairs = steps.len() * self.stage.batch;
        let waited: f64 = steps.iter().map(|step| step.data_wait.as_secs_f64()).sum();
        let mut line = Map::new();
        line.insert("phase".into(), json!(self.phase));
        line.insert("step".into(), json!(last.step));
        line.insert("loss".into(), json!(loss));
        for ((name, _), value) in last.terms.iter().zip(&read.terms) {
            line.insert((*name).into(), json!(value));
        }
        line.insert("learning_rate".into(), json!(rate));
        line.insert("gradient_norm".into(), json!(norm));
        line.insert("samples_per_second".into(), json!(pairs as f64 / elapsed));
        line.insert("data_wait".into(), json!(waited / elapsed));
        if let Some(bytes) = resident_memory() {
            line.insert("memory_mb".into(), json!(bytes / 1_000_000));
        }
        line.insert("seconds".into(), json!(seconds));
        if !self.ranks.is_alone() {
            line.insert("received_bytes".into(), self.received(steps.len()));
        }
        self.line = summary(*loss, last.terms.iter().map(|(name, _)| *name).zip(&read.terms));
        run.record(last.step, line)?;
        Ok(self.skipped)
    }

    /// Bytes that this rank received in a step, by what they are: the mean over the last `steps`.
    fn received(&mut self, steps: usize) -> Value {
        let now = self.ranks.traffic();
        let of = |(what, volume): (&'static str, Volume)| {
            let received = volume.received - self.travelled.of(what).received;
            (what.to_owned(), json!(received as f64 / steps as f64))
        };
        let received = now.iter().map(of).filter(|(_, bytes)| *bytes != json!(0.0));
        let received = Value::Object(received.collect());
        self.travelled = now;
        received
    }

    /// The names of the samples of a step, those of all ranks: all of them are here, since all have the same figures.
    fn keys(&self, step: &StepFigures) -> Result<Vec<String>, TrainError> {
        let own = serde_json::to_vec(&step.keys).map_err(TrainError::other)?;
        let all = self.ranks.all_gather("names of samples", &own)?;
        let all = all.iter().map(|keys| serde_json::from_slice::<Vec<String>>(keys));
        Ok(all
            .collect::<Result<Vec<_>, _>>()
            .map_err(TrainError::other)?
            .concat())
    }

    fn skip(
        &mut self,
        run: &mut Run<'_>,
        step: &StepFigures,
        what: &str,
        value: f64,
    ) -> Result<(), TrainError> {
        self.skipped += 1;
        let mut line = Map::new();
        line.insert("phase".into(), json!(self.phase));
        line.insert("step".into(), json!(step.step));
        line.insert("skipped".into(), json!(what));
        line.insert("keys".into(), json!(self.keys(step)?));
        run.log.write(line)?;
        if self.skipped > self.stage.skip_bad_steps {
            return Err(TrainError::Diverged {
                phase: self.phase.to_owned(),
                step: step.step,
                what: what.to_owned(),
                value,
                skipped: self.skipped - 1,
            });
        }
        let phase = self.phase;
        run.observer.note(&format!(
            "{phase}: step {} was skipped: its {what} is {value}",
            step.step
        ));
        Ok(())
    }
}

/// What was read of steps that follow each other.
struct Read {
    /// Loss and gradient norm of each.
    losses: Vec<[f64; 2]>,
    /// The terms of the last.
    terms: Vec<f64>,
}

fn read(steps: &[StepFigures]) -> Read {
    let norms: Vec<Scalar> = steps.iter().map(|step| step.norm.value()).collect();
    let mut scalars: Vec<Tensor<1>> = steps.iter().map(|step| step.total.clone()).collect();
    let terms = steps.last().map_or(&[][..], |last| &last.terms);
    scalars.extend(terms.iter().map(|(_, value)| value.clone()));
    scalars.extend(norms.iter().filter_map(|norm| match norm {
        Scalar::Known(_) => None,
        Scalar::OnDevice(norm) => Some(norm.clone()),
    }));
    if scalars.is_empty() {
        return Read {
            losses: Vec::new(),
            terms: Vec::new(),
        };
    }
    let data = Tensor::cat(scalars, 0).into_data().convert::<f32>();
    let values: Vec<f64> = data.iter::<f32>().map(f64::from).collect();
    let (totals, rest) = values.split_at(steps.len());
    let (terms, on_device) = rest.split_at(terms.len());
    let mut on_device = on_device.iter().copied();
    let norms = norms.iter().map(|norm| match norm {
        Scalar::Known(norm) => *norm,
        Scalar::OnDevice(_) => on_device.next().unwrap_or(f64::NAN),
    });
    Read {
        losses: totals.iter().copied().zip(norms).map(<[f64; 2]>::from).collect(),
        terms: terms.to_vec(),
    }
}

fn summary<'a>(total: f64, terms: impl Iterator<Item = (&'a str, &'a f64)>) -> String {
    let terms: Vec<String> = terms.map(|(name, value)| format!("{name} {value:.3}")).collect();
    format!("loss {total:.3}  {}", terms.join("  "))
}

/// Bytes of memory that the process holds, where the system says so.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
