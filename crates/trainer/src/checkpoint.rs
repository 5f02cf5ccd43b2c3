//! Checkpoints: folders that exist whole or not at all.
//!
//! A checkpoint is written beside its place, its manifest of SHA-256 sums last, flushed, and renamed. Reading takes the
//! newest one whose sums hold.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use blip2_core::weights::{LoadOptions, NameMap, SafetensorsStore, collect, load, write_safetensors};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TrainError;
use crate::optimizer::Optimizer;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";
/// Checkpoints of a phase that are kept.
const KEPT: usize = 2;

/// Where a phase stood. Order and negatives are decided by the step, so that nothing else is needed to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// SHA-256 of the resolved recipe: another recipe is another run.
    pub recipe: String,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// The checkpoints of one phase, in `RUN/checkpoints/PHASE`.
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Of `phase` of the run in `run`.
    pub fn new(run: &Path, phase: &str) -> Self {
        Self {
            folder: run.join("checkpoints").join(phase),
        }
    }

    /// Writes a checkpoint and drops all but the newest two.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Weights`] where the disk refuses; older checkpoints are then untouched.
    pub fn save<M: Module>(&self, model: &M, optimizer: &Optimizer, state: &State) -> Result<(), TrainError> {
        let place = self.folder.join(format!("step-{:08}", state.step));
        let partial = place.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io("remove", &partial))?;
        }
        fs::create_dir_all(&partial).map_err(io("create", &partial))?;
        write_safetensors(&partial.join(MODEL), &collect(model), HashMap::new())?;
        write_safetensors(&partial.join(OPTIMIZER), &optimizer.state(), HashMap::new())?;
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
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io("write", &self.folder))?;
        self.drop_old()
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
        for place in self.places()?.into_iter().rev() {
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

    fn drop_old(&self) -> Result<(), TrainError> {
        let places = self.places()?;
        for place in &places[..places.len().saturating_sub(KEPT)] {
            fs::remove_dir_all(place).map_err(io("remove", place))?;
        }
        Ok(())
    }

    /// Finished checkpoint folders, oldest first.
    fn places(&self) -> Result<Vec<PathBuf>, TrainError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("list", &self.folder)(error)),
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

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TrainError + use<> {
    let path = path.to_owned();
    move |source| TrainError::Io { action, path, source }
}
