//! Checkpoints: folders that exist whole or not at all.
//!
//! A checkpoint is written beside its place, its manifest of SHA-256 sums last, flushed, and renamed. Reading takes the
//! newest one whose sums hold.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use blip2_core::weights::{LoadOptions, NameMap, SafetensorsStore, collect, load, write_safetensors};
use burn::module::Module;
use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TrainError;
use crate::error::io;
use crate::optimizer::Optimizer;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";

/// Where a phase stood. Order and negatives are decided by the step, so that nothing else is needed to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// SHA-256 of what of the resolved recipe may not change: another recipe is another run.
    pub recipe: String,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Steps that changed nothing, because their loss or gradient was no number.
    #[serde(default)]
    pub skipped: u64,
    /// The figure that the best checkpoint is kept by, if it was measured at this step.
    #[serde(default)]
    pub score: Option<f64>,
}

impl State {
    /// Before the first step of a run of the recipe with this SHA-256.
    pub(crate) fn beginning(recipe: &str) -> Self {
        Self {
            step: 0,
            recipe: recipe.to_owned(),
            seconds: 0.0,
            skipped: 0,
            score: None,
        }
    }
}

/// Which checkpoints of a phase stay on the disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// So many of the newest ones; at least 1. With two, one that the disk has damaged is no loss.
    #[serde(default = "two")]
    pub newest: usize,
    /// Beside them the best one, by a figure of an evaluator: `held-out/loss`.
    #[serde(default)]
    pub best: Option<String>,
    /// Whether the largest value of that figure is the best, not the smallest.
    #[serde(default)]
    pub largest: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            newest: two(),
            best: None,
            largest: false,
        }
    }
}

impl Kept {
    /// The figure that decides, if it is one of the evaluator called `evaluator`.
    pub(crate) fn figure_of(&self, evaluator: &str) -> Option<&str> {
        self.best.as_deref()?.strip_prefix(evaluator)?.strip_prefix('/')
    }

    /// What decides how good a checkpoint is, if it is among the `figures` of the evaluator called `evaluator`.
    ///
    /// # Errors
    /// [`TrainError::Other`] where the evaluator is meant and has no such figure.
    pub(crate) fn score(
        &self,
        evaluator: &str,
        figures: &[(String, f64)],
    ) -> Result<Option<f64>, TrainError> {
        let Some(wanted) = self.figure_of(evaluator) else {
            return Ok(None);
        };
        match figures.iter().find(|(name, _)| name == wanted) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
                Err(TrainError::other(format!(
                    "keep.best = \"{evaluator}/{wanted}\": `{evaluator}` measures no `{wanted}`, but {}",
                    names.join(", ")
                )))
            }
        }
    }
}

fn two() -> usize {
    2
}

/// The checkpoints of one phase, in `RUN/checkpoints/PHASE`.
pub struct Checkpoints {
    folder: PathBuf,
    kept: Kept,
    /// The checkpoint that is being written while training goes on.
    writing: Option<JoinHandle<Result<(), TrainError>>>,
}

impl Checkpoints {
    /// Of `phase` of the run in `run`.
    pub fn new(run: &Path, phase: &str, kept: Kept) -> Self {
        Self {
            folder: run.join("checkpoints").join(phase),
            kept,
            writing: None,
        }
    }

    /// Whether there is a whole one to go on from.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the folder cannot be listed.
    pub fn exist(&self) -> Result<bool, TrainError> {
        Ok(places(&self.folder)?.iter().any(|place| whole(place).is_some()))
    }

    /// Takes all values off the device, and writes them to the disk while the caller goes on; drops what is not to be kept.
    /// Waits for the checkpoint before, if it is still being written.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Weights`] where the disk refused the checkpoint before; older ones are then
    /// untouched. The last one's error comes from [`Checkpoints::finish`].
    pub fn save<M: Module>(
        &mut self,
        model: &M,
        optimizer: &Optimizer,
        state: &State,
    ) -> Result<(), TrainError> {
        self.finish()?;
        let (model, optimizer, state) = (collect(model), optimizer.state(), state.clone());
        let (folder, kept) = (self.folder.clone(), self.kept.clone());
        let writing = std::thread::Builder::new().name("checkpoint".to_owned());
        let writing = writing.spawn(move || {
            write(&folder, &model, &optimizer, &state)?;
            drop_old(&folder, &kept)
        });
        self.writing = Some(writing.map_err(io("write", &self.folder))?);
        Ok(())
    }

    /// Waits for the checkpoint that is being written.
    ///
    /// # Errors
    /// As for [`Checkpoints::save`].
    pub fn finish(&mut self) -> Result<(), TrainError> {
        match self.writing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }

    /// The newest whole checkpoint, if there is one.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the folder cannot be listed; [`TrainError::Run`] where the checkpoint is another recipe's.
    pub fn latest<M: Module>(
        &self,
        model: M,
        recipe: &str,
        device: &Device,
    ) -> Result<(M, Option<(Optimizer, State)>), TrainError> {
        for place in places(&self.folder)?.into_iter().rev() {
            let Some(state) = whole(&place) else {
                tracing::warn!("checkpoint {} is damaged; taking the one before", place.display());
                continue;
            };
            if state.recipe != recipe {
                return Err(TrainError::Run {
                    path: place,
                    reason: "was made by another recipe or seed: resume with the same one, or choose another --run".to_owned(),
                });
            }
            let weights = SafetensorsStore::open(&place.join(MODEL))?;
            let model = load(model, &weights, &NameMap::OWN, LoadOptions::default())?;
            let moments = SafetensorsStore::open(&place.join(OPTIMIZER))?;
            let optimizer = Optimizer::from_state(&moments, state.step, &device.clone().inner())?;
            return Ok((model, Some((optimizer, state))));
        }
        Ok((model, None))
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        // A run that ends with an error still keeps the checkpoint that was on its way.
        if let Some(Ok(Err(error))) = self.writing.take().map(JoinHandle::join) {
            tracing::warn!("the last checkpoint was not written: {error}");
        }
    }
}

/// Writes a checkpoint beside its place, its manifest last, and puts it there whole.
fn write(
    folder: &Path,
    model: &[(String, TensorData)],
    optimizer: &[(String, TensorData)],
    state: &State,
) -> Result<(), TrainError> {
    let place = folder.join(format!("step-{:08}", state.step));
    let partial = place.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(io("remove", &partial))?;
    }
    fs::create_dir_all(&partial).map_err(io("create", &partial))?;
    write_safetensors(&partial.join(MODEL), model, HashMap::new())?;
    write_safetensors(&partial.join(OPTIMIZER), optimizer, HashMap::new())?;
    write_json(&partial.join(STATE), state)?;
    let sums: BTreeMap<&str, String> = [MODEL, OPTIMIZER, STATE]
        .into_iter()
        .map(|name| Ok((name, sum(&partial.join(name))?)))
        .collect::<Result<_, TrainError>>()?;
    write_json(&partial.join(MANIFEST), &sums)?;
    if place.exists() {
        fs::remove_dir_all(&place).map_err(io("remove", &place))?;
    }
    fs::rename(&partial, &place).map_err(io("rename", &partial))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io("write", folder))
}

/// Drops all but the newest and the best.
fn drop_old(folder: &Path, kept: &Kept) -> Result<(), TrainError> {
    let places = places(folder)?;
    let old = &places[..places.len().saturating_sub(kept.newest.max(1))];
    let best = kept.best.as_ref().and_then(|_| {
        let scored = places.iter().filter_map(|place| Some((place, score(place)?)));
        let better = |left: f64, right: f64| if kept.largest { left > right } else { left < right };
        // Of equals the newer one.
        let best = scored.reduce(|best, next| if better(best.1, next.1) { best } else { next });
        best.map(|(place, _)| place)
    });
    for place in old.iter().filter(|place| Some(*place) != best) {
        fs::remove_dir_all(place).map_err(io("remove", place))?;
    }
    Ok(())
}

/// What the state of the checkpoint in `place` says of its quality.
fn score(place: &Path) -> Option<f64> {
    let state: State = serde_json::from_slice(&fs::read(place.join(STATE)).ok()?).ok()?;
    state.score
}

/// Finished checkpoint folders, oldest first.
fn places(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("list", folder)(error)),
    };
    let mut places: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("step-") && !name.ends_with(".partial")
        })
        .collect();
    places.sort();
    Ok(places)
}

/// The state of the checkpoint in `place`, if all of it is there and unchanged.
fn whole(place: &Path) -> Option<State> {
    let sums: BTreeMap<String, String> =
        serde_json::from_slice(&fs::read(place.join(MANIFEST)).ok()?).ok()?;
    let intact = [MODEL, OPTIMIZER, STATE].iter().all(|name| {
        sums.get(*name)
            .is_some_and(|expected| sum(&place.join(name)).is_ok_and(|sum| sum == *expected))
    });
    intact
        .then(|| serde_json::from_slice(&fs::read(place.join(STATE)).ok()?).ok())
        .flatten()
}

/// SHA-256 of a file, lower-case hexadecimal.
fn sum(path: &Path) -> Result<String, TrainError> {
    let mut file = File::open(path).map_err(io("read", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io("read", path))? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hexadecimal(hash))
}

/// SHA-256 of a text, lower-case hexadecimal.
pub(crate) fn digest(text: &str) -> String {
    hexadecimal(Sha256::new_with_prefix(text))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| io("write", path)(error.into()))?;
    File::create(path)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(io("write", path))
}
