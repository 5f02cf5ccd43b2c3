//! What an evaluation comes to: figures, the file for an evaluation server, and cases to look at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::journal::replace;
use super::work::Work;
use crate::model::named;
use crate::output;

const FIGURES: &str = "figures.json";
const RESULTS: &str = "results.json";

/// The outcome of a task.
#[derive(Default)]
pub(super) struct Measured {
    /// By name, in the order in which they are shown.
    pub(super) figures: Vec<(String, f64)>,
    /// What was not measured, and why.
    pub(super) not_measured: BTreeMap<&'static str, String>,
    /// In the form that the evaluation server takes, where there is one.
    pub(super) results: Option<Value>,
    /// What can be looked at, one for each unit that was measured.
    pub(super) cases: Vec<Case>,
    /// Units that could not be used.
    pub(super) failed: usize,
}

/// One unit with what was made of it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) unit: usize,
    /// The higher, the better.
    pub(super) quality: f64,
    /// What people say, and what the model says.
    pub(super) truth: String,
    pub(super) written: String,
}

impl Measured {
    /// The `count` worst cases and as many of the best, each once.
    pub(super) fn extremes(&self, count: usize) -> (Vec<&Case>, Vec<&Case>) {
        let mut cases: Vec<&Case> = self.cases.iter().collect();
        cases.sort_by(|one, other| {
            let quality = one.quality.total_cmp(&other.quality);
            quality.then(one.unit.cmp(&other.unit))
        });
        let best = cases.split_off(cases.len() - count.min(cases.len() / 2));
        cases.truncate(count);
        (cases, best.into_iter().rev().collect())
    }

    /// Writes figures and results into the folder of `work`, and says the figures.
    pub(super) fn publish(&self, work: &Work, task: &str, as_json: bool) -> Result<()> {
        let (folder, units) = (work.folder, work.units);
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|(name, figure)| (name.clone(), json!(figure)))
            .collect();
        let record = json!({
            "task": task,
            "count": units.len() - self.failed,
            "failed": self.failed,
            "left_out": work.left_out,
            "figures": figures,
            "not_measured": self.not_measured,
        });
        replace(
            &folder.join(FIGURES),
            &(serde_json::to_string_pretty(&record)? + "\n"),
        )?;
        let results = folder.join(RESULTS);
        if let Some(content) = &self.results {
            replace(&results, &(serde_json::to_string(content)? + "\n"))?;
        }
        if as_json {
            return output::json(&record);
        }
        for (name, figure) in &self.figures {
            // 0 is added for negative zero to lose its sign.
            output::line(format_args!("{:10.4}  {name}", figure + 0.0))?;
        }
        for (name, why) in &self.not_measured {
            output::line(format_args!("{name} was not measured: {why}"))?;
        }
        for (reason, count) in work.left_out {
            output::line(format_args!("{count:10}  left out: {reason}"))?;
        }
        let counted = units.len() - self.failed;
        output::line(format_args!(
            "{counted:10}  in all, see {}",
            named(&folder.join("report.html"))
        ))
    }
}

/// The content of a file, with the name that messages give it.
pub(super) fn document(path: &Path) -> Result<(String, Vec<u8>)> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", named(path)))?;
    Ok((named(path), content))
}
