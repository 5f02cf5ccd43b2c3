//! What is measured: `benches/workloads.toml`, and on GPUs `benches/workloads-cuda.toml`.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::outcome::{Made, Outcome};
use super::peer::Packages;
use crate::places;
use crate::unit::Unit;

/// All workloads in the order in which they are measured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    workload: Vec<Workload>,
}

/// One row of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) name: String,
    /// How many times as fast as the peer it is meant to be, with AMX or AVX-512.
    pub(crate) goal: Option<f64>,
    /// The same with AVX2.
    pub(crate) goal_avx2: Option<f64>,
    /// Another row, which ours must not take longer than.
    pub(crate) no_slower_than: Option<String>,
    /// Part of the quick run.
    #[serde(default)]
    pub(crate) quick: bool,
    /// Runs of each side that count.
    #[serde(default = "five")]
    pub(crate) repeats: usize,
    /// Threads of each side.
    #[serde(default = "two")]
    pub(crate) threads: usize,
    /// What the peer is.
    #[serde(default)]
    pub(crate) peer: Packages,
    /// The key of `work` that says how many things one run makes, by which its pace is told: `tokens`, `pictures`.
    pub(crate) paced_by: Option<String>,
    /// Timed from the start of the process to the answer that the workload is open.
    #[serde(default)]
    pub(crate) from_start: bool,
    /// What both sides are told: the kind of work and its sizes.
    pub(crate) work: Value,
    /// What the peer is told in its place.
    #[serde(skip)]
    pub(crate) peer_work: Value,
}

fn five() -> usize {
    5
}

fn two() -> usize {
    2
}

impl Workload {
    /// The goal on `unit`: at least as fast as the peer on the two units that most processors have, and none on those that
    /// nobody trains with.
    fn goal_on(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Amx => self.goal,
            Unit::Avx512 => Some(self.goal.unwrap_or(1.0)),
            Unit::Avx2 => Some(self.goal_avx2.unwrap_or(1.0)),
            Unit::Baseline | Unit::Neon => None,
        }
    }

    /// The same work, in single precision where a lower one would only be slower.
    fn peer_work_on(&self, unit: Unit) -> Value {
        let mut work = self.work.clone();
        if !unit.multiplies_bf16()
            && let Some(precision) = work.get_mut("precision")
        {
            *precision = "f32".into();
        }
        work
    }

    /// What one run makes, and how many of them.
    pub(crate) fn made(&self) -> Option<Made> {
        let what = self.paced_by.clone()?;
        let count = self.work[&what].as_u64()?;
        Some(Made { what, count })
    }

    /// Whether a peer that has measured another operation will do.
    pub(crate) fn shares_peer(&self) -> bool {
        self.name.starts_with("ops/")
    }
}

impl Catalogue {
    /// What is measured, with the goals of `unit`.
    pub(crate) fn read(unit: Unit) -> Result<Self> {
        let mut catalogue = Self::of("workloads.toml")?;
        for workload in &mut catalogue.workload {
            workload.goal = workload.goal_on(unit);
            workload.peer_work = workload.peer_work_on(unit);
        }
        Ok(catalogue)
    }

    /// What is measured on GPUs.
    pub(crate) fn for_gpus() -> Result<Self> {
        let mut catalogue = Self::of("workloads-cuda.toml")?;
        for workload in &mut catalogue.workload {
            workload.peer_work = workload.work.clone();
        }
        Ok(catalogue)
    }

    fn of(file: &str) -> Result<Self> {
        let file = places::root().join("benches").join(file);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", file.display()))
    }

    /// How each row that must be no slower than another one of ours compares with it, where both were measured.
    pub(crate) fn comparisons(&self, outcomes: &[Outcome]) -> Vec<String> {
        let ours = |name: &str| Some(outcomes.iter().find(|outcome| outcome.name == name)?.ours_s);
        let compare = |workload: &Workload| {
            let other = workload.no_slower_than.as_deref()?;
            let share = ours(&workload.name)? / ours(other)?;
            Some(format!(
                "`{}` takes {share:.2} of the time of `{other}`, where at most 1 is asked.",
                workload.name
            ))
        };
        self.workload.iter().filter_map(compare).collect()
    }

    /// The workloads of these names, or whose names begin with them; all without a name.
    ///
    /// # Errors
    /// A name that fits none.
    pub(crate) fn choose(&self, names: &[String], quick: bool) -> Result<Vec<&Workload>> {
        let fits = |name: &str, workload: &Workload| match self.workload.iter().any(|each| each.name == name)
        {
            true => workload.name == name,
            false => workload
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['/', '-'])),
        };
        if let Some(name) = names
            .iter()
            .find(|name| !self.workload.iter().any(|workload| fits(name, workload)))
        {
            let known: Vec<&str> = self
                .workload
                .iter()
                .map(|workload| workload.name.as_str())
                .collect();
            bail!(
                "nothing to measure is named {name}; there are: {}",
                known.join(" ")
            );
        }
        let chosen = self
            .workload
            .iter()
            .filter(|workload| !quick || workload.quick)
            .filter(|workload| names.is_empty() || names.iter().any(|name| fits(name, workload)));
        Ok(chosen.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chosen(names: &[&str], quick: bool) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let catalogue = Catalogue::read(Unit::Amx).unwrap();
        let workloads = catalogue.choose(&names, quick).unwrap();
        workloads.iter().map(|workload| workload.name.clone()).collect()
    }

    #[test]
    fn every_workload_has_a_name_of_its_own_and_a_kind() {
        let catalogue = Catalogue::read(Unit::Amx).unwrap();
        let names: BTreeSet<&str> = catalogue.workload.iter().map(|each| each.name.as_str()).collect();
        assert_eq!(names.len(), catalogue.workload.len());
        assert!(
            catalogue
                .workload
                .iter()
                .all(|each| each.work["kind"].is_string())
        );
        assert!(catalogue.workload.iter().all(|each| each.repeats >= 3));
        let paced = |each: &&Workload| each.paced_by.is_some();
        assert!(
            catalogue
                .workload
                .iter()
                .filter(paced)
                .all(|each| each.made().is_some())
        );
    }

    #[test]
    fn gpus_have_workloads_of_their_own_each_with_a_goal() {
        let gpus = Catalogue::for_gpus().unwrap();
        assert!(gpus.workload.iter().all(|each| each.goal >= Some(0.8)));
        assert!(gpus.workload.iter().all(|each| each.peer_work == each.work));
        let names: Vec<&str> = gpus.workload.iter().map(|each| each.name.as_str()).collect();
        for name in ["encode-g", "stage1-step", "stage2-step", "generate-greedy"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }

    #[test]
    fn a_whole_name_means_one_row_and_a_beginning_all_that_go_on_from_it() {
        assert_eq!(chosen(&["stage1-step"], false), ["stage1-step"]);
        assert!(chosen(&["ops"], false).len() > 20);
        assert!(
            chosen(&["generate"], false)
                .iter()
                .all(|name| name.starts_with("generate-"))
        );
        assert!(chosen(&[], true).len() < chosen(&[], false).len());
    }

    #[test]
    fn each_unit_has_goals_of_its_own() {
        let goal = |name: &str, unit: Unit| {
            let catalogue = Catalogue::read(unit).unwrap();
            catalogue.choose(&[name.to_owned()], false).unwrap()[0].goal
        };
        let goals = |name: &str| Unit::ALL.map(|unit| goal(name, unit));
        assert_eq!(
            goals("stage1-step"),
            [Some(2.0), Some(2.0), Some(1.3), None, None]
        );
        assert_eq!(goals("stage2-step")[2], Some(1.0));
        assert_eq!(goals("stage1-step-dropout")[..2], [None, Some(1.0)]);
    }

    #[test]
    fn the_peer_takes_single_precision_where_a_lower_one_is_slower() {
        let precision = |unit: Unit| {
            let catalogue = Catalogue::read(unit).unwrap();
            let chosen = catalogue
                .choose(&["generate-int8-greedy".to_owned()], false)
                .unwrap();
            let precision = |work: &Value| work["precision"].as_str().unwrap().to_owned();
            [precision(&chosen[0].work), precision(&chosen[0].peer_work)]
        };
        assert_eq!(precision(Unit::Avx512), ["int8", "int8"]);
        assert_eq!(precision(Unit::Avx2), ["int8", "f32"]);
    }

    #[test]
    fn rows_that_must_be_no_slower_than_others_are_compared_with_them() {
        let catalogue = Catalogue::read(Unit::Avx2).unwrap();
        let both = [
            Outcome::example("stage1-step", 4.0, 4.0),
            Outcome::example("stage1-step-bf16", 3.0, 4.0),
        ];
        assert_eq!(catalogue.comparisons(&both[..1]), [""; 0]);
        let comparisons = catalogue.comparisons(&both);
        assert!(
            comparisons[0].contains("takes 0.75 of the time of `stage1-step`"),
            "{comparisons:?}"
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        let catalogue = Catalogue::read(Unit::Amx).unwrap();
        let error = catalogue
            .choose(&["stage".to_owned()], false)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("named stage;") && error.contains("stage1-step"),
            "{error}"
        );
    }
}
