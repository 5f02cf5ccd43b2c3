//! What was measured, and where it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::contestant::Phase;
use super::ground::Ground;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// Medians.
    pub(crate) ours_s: f64,
    pub(crate) peer_s: f64,
    /// Peer over ours: above 1, we are faster.
    pub(crate) ratio: f64,
    /// What the ratio is meant to be.
    pub(crate) goal: Option<f64>,
    /// Slowest less fastest run, as a share of the median.
    pub(crate) ours_spread: f64,
    pub(crate) peer_spread: f64,
    /// The most memory that the process has had while it was measured.
    pub(crate) ours_peak_bytes: u64,
    pub(crate) peer_peak_bytes: u64,
    pub(crate) repeats: usize,
    pub(crate) threads: usize,
    /// What the hardware allows at best, where the work is counted.
    pub(crate) limit_s: Option<f64>,
    /// What a run makes, where a pace says more than seconds.
    pub(crate) made: Option<Made>,
}

/// So many of the same, such as tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) what: String,
    pub(crate) count: u64,
}

impl Outcome {
    /// How many things a second each side makes, in words, where they are counted.
    pub(crate) fn pace(&self) -> Option<String> {
        let Made { what, count } = self.made.as_ref()?;
        let [ours, peer] = [self.ours_s, self.peer_s].map(|seconds| *count as f64 / seconds);
        Some(format!("{ours:.2} {what} a second, the peer {peer:.2}"))
    }
}

/// The runs of one side.
pub(crate) struct Side {
    pub(crate) median: f64,
    pub(crate) spread: f64,
    pub(crate) peak_bytes: u64,
}

impl Side {
    /// Of at least one run.
    pub(crate) fn of(seconds: &[f64], peak_bytes: u64) -> Self {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let median = (low + high) / 2.0;
        Self {
            median,
            spread: (sorted[sorted.len() - 1] - sorted[0]) / median,
            peak_bytes,
        }
    }
}

/// What the machine is and what it can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    /// Bytes a second that both cores read together.
    pub(crate) read_per_s: f64,
    /// Operations a second of a large matrix product, by the better of both sides.
    pub(crate) f32_per_s: f64,
    pub(crate) bf16_per_s: f64,
    /// Of the peer's packages.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Machine {
    /// Seconds below which the work cannot be done: in each phase all products at the best rate, or all bytes at the
    /// memory's, whatever takes longer.
    pub(crate) fn limit(&self, phases: &[Phase]) -> Option<f64> {
        let limit = |phase: &Phase| {
            let products = phase.f32_operations / self.f32_per_s + phase.bf16_operations / self.bf16_per_s;
            products.max(phase.bytes / self.read_per_s)
        };
        (!phases.is_empty()).then(|| phases.iter().map(limit).sum())
    }

    pub(crate) fn line(&self) -> String {
        let versions: Vec<String> = self
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        format!(
            "{}, {} cores, {:.0} GB; reads {:.0} GB/s, multiplies {:.0} GFLOP/s in f32 and {:.0} in bf16; {}",
            self.processor,
            self.cores,
            self.memory_bytes as f64 / 1e9,
            self.read_per_s / 1e9,
            self.f32_per_s / 1e9,
            self.bf16_per_s / 1e9,
            versions.join(", ")
        )
    }
}

/// The folder in which outcomes are kept from run to run: the newest of each name.
pub(crate) struct Record {
    folder: PathBuf,
    outcomes: PathBuf,
    machine: PathBuf,
}

impl Record {
    /// Of what was measured on `ground`, below the folder of all.
    pub(crate) fn of(folder: &Path, ground: Ground) -> Self {
        let folder = folder.join(ground.name());
        Self {
            outcomes: folder.join("results.json"),
            machine: folder.join("machine.toml"),
            folder,
        }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the outcomes.
    pub(crate) fn file(&self) -> &Path {
        &self.outcomes
    }

    /// All outcomes in the order in which they were first measured.
    pub(crate) fn outcomes(&self) -> Result<Vec<Outcome>> {
        if !self.outcomes.exists() {
            return Ok(Vec::new());
        }
        let text = read(&self.outcomes)?;
        serde_json::from_str(&text).with_context(|| unreadable(&self.outcomes))
    }

    /// Keeps `outcome` in place of an older one of its name.
    pub(crate) fn keep(&self, outcome: Outcome) -> Result<()> {
        let mut outcomes = self.outcomes()?;
        match outcomes.iter_mut().find(|older| older.name == outcome.name) {
            Some(older) => *older = outcome,
            None => outcomes.push(outcome),
        }
        write(&self.outcomes, &(serde_json::to_string_pretty(&outcomes)? + "\n"))
    }

    pub(crate) fn machine(&self) -> Result<Machine> {
        toml::from_str(&read(&self.machine)?).with_context(|| unreadable(&self.machine))
    }

    pub(crate) fn keep_machine(&self, machine: &Machine) -> Result<()> {
        write(&self.machine, &toml::to_string(machine)?)
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read {}: measure first, with `cargo xtask bench`",
            file.display()
        )
    })
}

fn unreadable(file: &Path) -> String {
    format!("{} is damaged: remove it and measure again", file.display())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, text))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
impl Outcome {
    /// One that took both sides so many seconds.
    pub(crate) fn example(name: &str, ours_s: f64, peer_s: f64) -> Self {
        Self {
            name: name.to_owned(),
            ours_s,
            peer_s,
            ratio: peer_s / ours_s,
            goal: None,
            ours_spread: 0.0,
            peer_spread: 0.0,
            ours_peak_bytes: 0,
            peer_peak_bytes: 0,
            repeats: 5,
            threads: 2,
            limit_s: None,
            made: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Unit;

    fn outcome(name: &str, ratio: f64) -> Outcome {
        Outcome::example(name, 1.0, ratio)
    }

    #[test]
    fn a_new_outcome_takes_the_place_of_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::of(folder.path(), Ground::Processor(Unit::Avx2));
        assert_eq!(record.outcomes().unwrap(), []);
        for (name, ratio) in [("load", 1.0), ("pixels", 2.0), ("load", 3.0)] {
            record.keep(outcome(name, ratio)).unwrap();
        }
        let kept = record.outcomes().unwrap();
        assert_eq!(kept, [outcome("load", 3.0), outcome("pixels", 2.0)]);
        let other = Record::of(folder.path(), Ground::Processor(Unit::Baseline));
        assert_eq!(other.outcomes().unwrap(), []);
    }

    #[test]
    fn a_pace_is_told_where_things_are_counted() {
        let made = Made {
            what: "tokens".to_owned(),
            count: 64,
        };
        let counted = Outcome {
            made: Some(made),
            ..Outcome::example("decode", 2.0, 4.0)
        };
        assert_eq!(counted.pace().unwrap(), "32.00 tokens a second, the peer 16.00");
        assert_eq!(outcome("load", 1.0).pace(), None);
    }

    #[test]
    fn the_median_is_the_middle_and_the_spread_a_share_of_it() {
        let side = Side::of(&[2.0, 1.0, 5.0], 0);
        assert_eq!((side.median, side.spread), (2.0, 2.0));
        assert_eq!(Side::of(&[1.0, 2.0], 0).median, 1.5);
    }

    #[test]
    fn the_limit_of_a_phase_is_what_takes_longer() {
        let machine = Machine {
            processor: String::new(),
            cores: 2,
            memory_bytes: 0,
            read_per_s: 10.0,
            f32_per_s: 100.0,
            bf16_per_s: 400.0,
            versions: BTreeMap::new(),
        };
        let phase = |f32_operations, bytes| Phase {
            f32_operations,
            bytes,
            bf16_operations: 400.0,
        };
        assert_eq!(machine.limit(&[phase(100.0, 0.0)]), Some(2.0));
        assert_eq!(machine.limit(&[phase(0.0, 100.0), phase(0.0, 0.0)]), Some(11.0));
        assert_eq!(machine.limit(&[]), None);
    }
}
