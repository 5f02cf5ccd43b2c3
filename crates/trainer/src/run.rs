//! A run folder, and what all phases of a run share.

use std::path::{Path, PathBuf};

use blip2_distributed::Communicator;
use burn::tensor::Device;
use serde_json::{Map, Value, json};

use crate::checkpoint::digest;
use crate::error::io;
use crate::resumption::Resumption;
use crate::tensorboard::EventFile;
use crate::{Checkpoints, Kept, Observer, RunLog, TrainError};

/// The resolved recipe in a run folder.
const RECIPE: &str = "recipe.toml";
/// What the data were as the run began.
const DATA: &str = "data.fingerprint";

/// What decides a run, and where it lives.
pub struct RunOptions<'a> {
    /// The run folder; made where it is missing.
    pub folder: PathBuf,
    /// The resolved recipe as TOML. A run goes on with another one only where no more than rates, clipping and how the run is run have
    /// changed: the log has a line `recipe_changed` then.
    pub recipe: String,
    /// What the data are: with others, nothing is resumed. Absent where the recipe decides them.
    pub data: Option<String>,
    /// Decides everything random.
    pub seed: u64,
    /// Go on in a folder that holds a run already.
    pub resume: bool,
    /// Where models are trained, without autodiff.
    pub device: Device,
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// Who trains. The first of them alone writes.
    pub ranks: &'a Communicator,
}

/// A run that is under way. Its phases train one after the other ([`Trainer`](crate::Trainer)).
pub struct Run<'a> {
    pub(crate) folder: PathBuf,
    /// SHA-256 of what of the resolved recipe may not change.
    pub(crate) recipe: String,
    pub(crate) seed: u64,
    pub(crate) log: RunLog,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) ranks: &'a Communicator,
    /// With autodiff.
    pub(crate) device: Device,
    /// Of the phase that is under way.
    events: Option<EventFile>,
}

impl<'a> Run<'a> {
    /// Opens the run folder, and puts the recipe there, once all ranks have the same recipe, data and program.
    ///
    /// # Errors
    /// [`TrainError::Collective`] where they have not; [`TrainError::Run`] where the folder holds a run that is not to be resumed, or one of another recipe, which is left as
    /// it was; [`TrainError::Io`] where the disk refuses.
    pub fn open(options: RunOptions<'a>) -> Result<Self, TrainError> {
        let ranks = options.ranks;
        ranks.agree(&facts(&options))?;
        let recipe = Resumption::of(&options.recipe)?;
        let changes = match ranks.is_first() {
            true => prepare(&options, &recipe)?,
            false => Vec::new(),
        };
        ranks.barrier("run folder")?;
        let mut log = match ranks.is_first() {
            true => RunLog::open(&options.folder)?,
            false => RunLog::silent(&options.folder),
        };
        if !changes.is_empty() {
            tracing::warn!("the run goes on with a changed recipe: {}", changes.join("; "));
            let line = json!({ "recipe_changed": changes });
            log.write(line.as_object().cloned().unwrap_or_default())?;
        }
        Ok(Self {
            recipe: recipe.digest,
            seed: options.seed,
            log,
            observer: options.observer,
            ranks,
            device: options.device.autodiff(),
            events: None,
            folder: options.folder,
        })
    }

    /// Where the run lives.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Decides everything random.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Where models are trained: with autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Who is told of the run.
    pub fn observer(&self) -> &'a dyn Observer {
        self.observer
    }

    /// Who trains.
    pub fn ranks(&self) -> &'a Communicator {
        self.ranks
    }

    /// Whether the first weights of `phase` are decided here: by the first rank of a run that has no checkpoint of it. Everybody
    /// else takes what comes from there.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the checkpoints cannot be listed.
    pub fn decides_first_weights(&self, phase: &str) -> Result<bool, TrainError> {
        let checkpoints = Checkpoints::new(&self.folder, phase, Kept::default());
        Ok(self.ranks.is_first() && !checkpoints.exist()?)
    }

    /// What was measured so far; known to the first rank alone.
    pub fn log(&self) -> &RunLog {
        &self.log
    }

    /// A phase of `steps` steps goes on after `done` of them: what the log holds of later ones is forgotten.
    pub(crate) fn begin(&mut self, phase: &str, done: u64, steps: u64) -> Result<(), TrainError> {
        if done < steps && self.ranks.is_first() {
            self.log.rewind(phase, done)?;
            self.events = Some(EventFile::begin(
                &self.folder.join("tensorboard").join(phase),
                done,
            )?);
        }
        self.observer.phase(phase, steps);
        Ok(())
    }

    /// Writes a line of the log, and what of it is a number for TensorBoard.
    pub(crate) fn record(&mut self, step: u64, line: Map<String, Value>) -> Result<(), TrainError> {
        let numbers = |prefix: &str, values: &Map<String, Value>| -> Vec<(String, f64)> {
            let number =
                |(name, value): (&String, &Value)| Some((format!("{prefix}{name}"), value.as_f64()?));
            values
                .iter()
                .filter(|(name, _)| *name != "step")
                .filter_map(number)
                .collect()
        };
        let mut figures = numbers("", &line);
        for (name, value) in &line {
            figures.extend(
                value
                    .as_object()
                    .map(|inner| numbers(&format!("{name}/"), inner))
                    .unwrap_or_default(),
            );
        }
        if let (Some(events), false) = (&mut self.events, figures.is_empty()) {
            events.write(step, &figures)?;
        }
        self.log.write(line)
    }

    /// Writes figures of an evaluation into the log: one object under the name of the evaluator.
    pub(crate) fn log_figures(
        &mut self,
        phase: &str,
        step: u64,
        evaluator: &str,
        figures: Vec<(String, f64)>,
    ) -> Result<(), TrainError> {
        let figures = figures.into_iter().map(|(name, value)| (name, json!(value)));
        let mut line = Map::new();
        line.insert("phase".into(), json!(phase));
        line.insert("step".into(), json!(step));
        line.insert(evaluator.into(), Value::Object(figures.collect()));
        self.record(step, line)
    }

    /// Writes the SHA-256 of the frozen models, as they are in memory, into the log.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the disk refuses.
    pub fn log_frozen(&mut self, when: &str, models: &[(&'static str, String)]) -> Result<(), TrainError> {
        let mut line = Map::new();
        line.insert("frozen".into(), json!(when));
        for (name, fingerprint) in models {
            line.insert((*name).into(), json!(fingerprint));
        }
        self.log.write(line)
    }
}

/// Frozen models are bit for bit what they were when they were loaded: `before` and `after` hold a name and the SHA-256 of
/// each.
///
/// # Errors
/// [`TrainError::Thawed`] with the first that changed.
pub fn check_frozen(
    before: &[(&'static str, String)],
    after: &[(&'static str, String)],
) -> Result<(), TrainError> {
    let changed = before.iter().zip(after).find(|(before, after)| before != after);
    changed.map_or(Ok(()), |((name, _), _)| Err(TrainError::Thawed(name)))
}

/// What all ranks of a run must have in common.
fn facts(options: &RunOptions<'_>) -> Vec<(String, String)> {
    let sections = options.recipe.split("\n[");
    let sections = sections.map(|section| {
        let name = section
            .trim_start_matches('[')
            .split([']', '\n'])
            .next()
            .unwrap_or_default();
        (format!("section `{name}` of the recipe"), digest(section))
    });
    [
        ("version of the program", env!("CARGO_PKG_VERSION").to_owned()),
        (
            "fingerprint of the data",
            options.data.clone().unwrap_or_default(),
        ),
        ("recipe", digest(&options.recipe)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .chain(sections)
    .collect()
}

/// Makes the run folder, or finds that its run can go on, and with what changes.
fn prepare(options: &RunOptions<'_>, recipe: &Resumption) -> Result<Vec<String>, TrainError> {
    let folder = &options.folder;
    let refuse = |reason: &str| {
        Err(TrainError::Run {
            path: folder.clone(),
            reason: reason.to_owned(),
        })
    };
    let (file, data) = (folder.join(RECIPE), folder.join(DATA));
    if file.exists() && !options.resume {
        return refuse("holds a run already: resume it with --resume, or choose another --run");
    }
    if file.exists() {
        let begun = std::fs::read_to_string(&file).map_err(io("read", &file))?;
        let begun = Resumption::of(&begun)?;
        if begun.digest != recipe.digest {
            return refuse(
                "was begun with another recipe or seed (its recipe.toml differs in more than rates, clipping and how it is run): \
                 resume with the same one, or choose another --run",
            );
        }
        if std::fs::read_to_string(&data).ok() != options.data {
            return refuse("was begun on other data (their fingerprint differs): choose another --run");
        }
        let changes = begun.changes(recipe);
        if !changes.is_empty() {
            write_recipe(&file, &options.recipe)?;
        }
        return Ok(changes);
    }
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    if let Some(fingerprint) = &options.data {
        std::fs::write(&data, fingerprint).map_err(io("write", &data))?;
    }
    write_recipe(&file, &options.recipe)?;
    Ok(Vec::new())
}

fn write_recipe(file: &Path, recipe: &str) -> Result<(), TrainError> {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, recipe)
        .and_then(|()| std::fs::rename(&partial, file))
        .map_err(io("write", file))
}
