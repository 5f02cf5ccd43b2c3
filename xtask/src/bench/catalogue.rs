//! What is measured: `benches/workloads.toml`.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::places;

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
    /// How many times as fast as the peer it is meant to be.
    pub(crate) goal: Option<f64>,
    /// Part of the quick run.
    #[serde(default)]
    pub(crate) quick: bool,
    /// Runs of each side that count.
    #[serde(default = "five")]
    pub(crate) repeats: usize,
    /// Threads of each side.
    #[serde(default = "two")]
    pub(crate) threads: usize,
    /// The peer needs LAVIS and the packages of its time.
    #[serde(default)]
    pub(crate) lavis: bool,
    /// Timed from the start of the process to the answer that the workload is open.
    #[serde(default)]
    pub(crate) from_start: bool,
    /// What both sides are told: the kind of work and its sizes.
    pub(crate) work: Value,
}

fn five() -> usize {
    5
}

fn two() -> usize {
    2
}

impl Workload {
    /// Whether a peer that has measured another operation will do.
    pub(crate) fn shares_peer(&self) -> bool {
        self.name.starts_with("ops/")
    }
}

impl Catalogue {
    pub(crate) fn read() -> Result<Self> {
        let file = places::root().join("benches/workloads.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", file.display()))
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
        let catalogue = Catalogue::read().unwrap();
        let workloads = catalogue.choose(&names, quick).unwrap();
        workloads.iter().map(|workload| workload.name.clone()).collect()
    }

    #[test]
    fn every_workload_has_a_name_of_its_own_and_a_kind() {
        let catalogue = Catalogue::read().unwrap();
        let names: BTreeSet<&str> = catalogue.workload.iter().map(|each| each.name.as_str()).collect();
        assert_eq!(names.len(), catalogue.workload.len());
        assert!(
            catalogue
                .workload
                .iter()
                .all(|each| each.work["kind"].is_string())
        );
        assert!(catalogue.workload.iter().all(|each| each.repeats >= 3));
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
    fn an_unknown_name_is_answered_with_those_there_are() {
        let catalogue = Catalogue::read().unwrap();
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
