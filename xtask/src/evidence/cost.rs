//! What a phase of a run cost: seconds, and how much of all parameters learned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::places;

/// Where a phase of a run stood, of what its checkpoint says.
#[derive(Deserialize)]
struct State {
    seconds: f64,
}

/// The frozen models of a run, of what its recipe says.
#[derive(Deserialize)]
struct Recipe {
    encoder: Model,
    language_model: Model,
}

#[derive(Deserialize)]
struct Model {
    path: PathBuf,
    #[serde(default)]
    train: bool,
}

/// Seconds of training of `phase`, evaluation on the way included.
///
/// # Errors
/// A run without such a phase.
pub(super) fn seconds(run: &Path, phase: &str) -> Result<f64> {
    let state = read(&newest(run, phase)?.join("state.json"))?;
    let state: State = serde_json::from_str(&state).context("the state of a checkpoint is damaged")?;
    Ok(state.seconds)
}

/// The share of parameters that `phase` trained, among these and the frozen ones of encoder and language model, whose files lie in
/// `home`. `program` counts them.
///
/// # Errors
/// A run without such a phase, or files that are not there.
pub(super) fn trained(run: &Path, phase: &str, home: &Path, program: &Path) -> Result<f64> {
    let recipe: Recipe =
        toml::from_str(&read(&run.join("recipe.toml"))?).context("the recipe of the run is damaged")?;
    let count = |file: &Path| values(program, file);
    let learned = count(&newest(run, phase)?.join("model.safetensors"))?;
    let mut frozen = count(&home.join(&recipe.language_model.path))?;
    if !recipe.encoder.train {
        frozen += count(&home.join(&recipe.encoder.path))?;
    }
    Ok(learned / (learned + frozen))
}

/// The newest checkpoint of `phase`.
fn newest(run: &Path, phase: &str) -> Result<PathBuf> {
    let folder = run.join("checkpoints").join(phase);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", places::shown(&folder)))?;
    let places = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let whole = places.filter(|place| place.extension().is_none() && place.join("manifest.json").exists());
    whole
        .max()
        .with_context(|| format!("{} holds no checkpoint", places::shown(&folder)))
}

/// Numbers in a file of weights.
fn values(program: &Path, file: &Path) -> Result<f64> {
    #[derive(Deserialize)]
    struct Total {
        values: u64,
    }
    let output = Command::new(program)
        .arg("inspect")
        .arg(file)
        .arg("--json")
        .output();
    let output = output.with_context(|| format!("{} does not start", places::shown(program)))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let total: Total = serde_json::from_str(said.lines().last().unwrap_or_default())
        .with_context(|| format!("{} is not counted", places::shown(file)))?;
    Ok(total.values as f64)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", places::shown(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_those_of_the_newest_whole_checkpoint() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("checkpoints/stage2");
        for (name, seconds, whole) in [
            ("step-00000002", 2.5, true),
            ("step-00000010", 9.5, true),
            ("step-00000012", 11.0, false),
            ("step-00000014.partial", 13.0, true),
        ] {
            let place = folder.join(name);
            fs::create_dir_all(&place).unwrap();
            fs::write(
                place.join("state.json"),
                format!("{{\"seconds\": {seconds}, \"step\": 1}}"),
            )
            .unwrap();
            if whole {
                fs::write(place.join("manifest.json"), "{}").unwrap();
            }
        }
        assert_eq!(seconds(run.path(), "stage2").unwrap(), 9.5);
        assert!(
            seconds(run.path(), "stage3")
                .unwrap_err()
                .to_string()
                .contains("stage3")
        );
    }
}
