//! The figures of a run: by an evaluation of its model, or out of its log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use blip2_report::Report;
use serde_json::Value;

use super::claim::{Arm, Measure, Source, place_of};
use super::cost;
use super::runs::{Maker, Runs, short_digest};
use crate::comparison::mean;
use crate::{places, process};

/// The folder beside the runs in which evaluations lie.
const EVALUATIONS: &str = "evaluations";
/// What stands for the arm's own run in options and data sets.
const OWN: &str = "run";

/// Figures by step, or one at the arm's place on the axis.
pub(crate) type Curve = Vec<(u64, f64)>;

impl Runs<'_> {
    /// What `measure` says of `arm` with this seed; whose evaluations are read for it goes into `by`.
    ///
    /// # Errors
    /// An evaluation that fails, or a run that does not hold the figure.
    pub(crate) fn measure(
        &self,
        arm: &Arm,
        measure: &Measure,
        seed: u64,
        by: &mut BTreeSet<Maker>,
    ) -> Result<Curve> {
        let run = self.place(&arm.run, seed);
        match &measure.by {
            Source::Evaluate {
                options,
                data,
                figures,
                times,
            } => {
                let mut found = Vec::new();
                for data in data {
                    let placed = |text: &String| {
                        let own = text.replace(&place_of(OWN), &run.to_string_lossy());
                        self.placed(&own, seed)
                    };
                    let options: Vec<String> = options.iter().chain(&arm.options).map(placed).collect();
                    let (record, maker) = self.evaluate(&run, &options, &placed(data))?;
                    by.insert(maker);
                    let count = record["count"].as_f64();
                    let count = count.context("the evaluation does not say of how many its figures are")?;
                    for name in figures {
                        let figure = record["figures"][name].as_f64();
                        let figure =
                            figure.with_context(|| format!("the evaluation has no figure `{name}`"))?;
                        found.push((count, figure));
                    }
                }
                Ok(vec![(arm.at.unwrap_or(0), times * pooled(&found))])
            }
            Source::Log(figures) => {
                let log = run.join("metrics.jsonl");
                let text = fs::read_to_string(&log)
                    .with_context(|| format!("cannot read {}", places::shown(&log)))?;
                curve(&text, &arm.phase, figures).with_context(|| places::shown(&log))
            }
            Source::Report(model) => {
                let report = Report::read(&run)?;
                let found = first_places(&report, model);
                let found =
                    found.with_context(|| format!("{} does not rank by `{model}`", places::shown(&run)))?;
                Ok(vec![(arm.at.unwrap_or(0), 100.0 * found)])
            }
            Source::Seconds => Ok(vec![(arm.at.unwrap_or(0), cost::seconds(&run, &arm.phase)?)]),
            Source::Trained => {
                let share = cost::trained(&run, &arm.phase, &self.home, &self.binary)?;
                Ok(vec![(arm.at.unwrap_or(0), 100.0 * share)])
            }
        }
    }

    /// What `blip2 evaluate` finds, which goes on where it was cut off and knows what it has found already.
    fn evaluate(&self, run: &Path, options: &[String], data: &str) -> Result<(Value, Maker)> {
        let name = run.file_name().unwrap_or_default().to_string_lossy();
        let words: Vec<&[u8]> = options.iter().map(|option| option.as_bytes()).collect();
        let digest = short_digest(&[&words[..], &[data.as_bytes()]].concat());
        let out = self.folder.join(EVALUATIONS).join(format!("{name}-{digest}"));
        let maker = Maker::of(&out)?;
        let mut command = Command::new(&self.binary);
        command.arg("evaluate").args(options).arg("--model").arg(run);
        command.args(["--data", data]).arg("--out").arg(&out);
        command.env("BLIP2_HOME", &self.home);
        let ending = process::run(&mut command, || ())?;
        if !ending.is_success() {
            bail!(
                "the evaluation of {} on {data} failed: {ending}",
                places::shown(run)
            );
        }
        let file = out.join("figures.json");
        let text = fs::read(&file).with_context(|| format!("cannot read {}", places::shown(&file)))?;
        let record = serde_json::from_slice(&text);
        let record = record.with_context(|| format!("{} is damaged", places::shown(&file)))?;
        Ok((record, maker))
    }
}

/// The mean of figures, each of so many pictures or questions, of which every one counts as much.
fn pooled(figures: &[(f64, f64)]) -> f64 {
    let of_all: f64 = figures.iter().map(|(count, figure)| count * figure).sum();
    of_all / figures.iter().map(|(count, _)| count).sum::<f64>()
}

/// What begins the names of parts that training never shows.
const HELD_OUT: &str = "held-out";

/// The share of right first places of `model` over the pictures of all held-out parts, the mean of both ways.
fn first_places(report: &Report, model: &str) -> Option<f64> {
    let rows = report.retrieval.iter();
    let rows = rows.filter(|row| row.model == model && row.split.starts_with(HELD_OUT));
    let found: Vec<(f64, f64)> = rows
        .flat_map(|row| [row.image_to_text[0], row.text_to_image[0]].map(|share| (row.images as f64, share)))
        .collect();
    (!found.is_empty()).then(|| pooled(&found))
}

/// The mean of `figures` (`evaluator/figure`) over the steps of `phase` in a log, in per cent.
fn curve(log: &str, phase: &str, figures: &[String]) -> Result<Curve> {
    let lines: Vec<Value> = log
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the log is damaged")?;
    let mut curves = Vec::new();
    for name in figures {
        let Some((evaluator, figure)) = name.rsplit_once('/') else {
            bail!("`{name}` is not of the form evaluator/figure");
        };
        let own = lines.iter().filter(|line| line["phase"] == phase);
        let points = own.filter_map(|line| Some((line["step"].as_u64()?, line[evaluator][figure].as_f64()?)));
        curves.push(points.collect::<Curve>());
    }
    let Some(first) = curves.first().filter(|first| !first.is_empty()) else {
        bail!("phase {phase} has no figures {}", figures.join(", "));
    };
    let mean_at = |(number, (step, _)): (usize, &(u64, f64))| {
        let of_step = curves
            .iter()
            .map(|curve| curve.get(number).filter(|(other, _)| other == step));
        let of_step: Option<Vec<f64>> = of_step.map(|point| point.map(|(_, value)| *value)).collect();
        let of_step = of_step
            .with_context(|| format!("step {step} of {phase} has not all of {}", figures.join(", ")))?;
        Ok((*step, 100.0 * mean(&of_step)))
    };
    first.iter().enumerate().map(mean_at).collect()
}

#[cfg(test)]
mod tests {
    use blip2_report::RetrievalRow;

    use super::*;

    const LOG: &str = r#"{"phase": "stage2", "step": 5, "loss": 2.0}
{"phase": "stage2", "step": 5, "new pairs": {"exact": 0.25, "f1": 0.5}}
{"phase": "stage2", "step": 5, "new style": {"exact": 0.75, "f1": 0.5}}
{"phase": "stage2", "step": 10, "new pairs": {"exact": 0.5, "f1": 0.5}}
{"phase": "stage2", "step": 10, "new style": {"exact": 1.0, "f1": 0.5}}
{"phase": "stage2-alone", "step": 5, "new pairs": {"exact": 0.0, "f1": 0.5}}
"#;

    #[test]
    fn first_places_are_those_of_the_held_out_parts_both_ways() {
        let row = |split: &str, model: &str, images: usize, [text, image]: [f64; 2]| RetrievalRow {
            split: split.to_owned(),
            model: model.to_owned(),
            images,
            image_to_text: [text, 1.0, 1.0],
            text_to_image: [image, 1.0, 1.0],
            ..RetrievalRow::default()
        };
        let report = Report {
            retrieval: vec![
                row("held-out style", "chance", 30, [0.0, 0.0]),
                row("held-out style", "ours", 30, [0.5, 0.75]),
                row("held-out pairs", "ours", 10, [0.0, 0.125]),
                row("single emoji", "ours", 30, [0.0, 0.0]),
            ],
            ..Report::default()
        };
        assert_eq!(
            first_places(&report, "ours"),
            Some((30.0 * 0.625 + 10.0 * 0.0625) / 40.0)
        );
        assert_eq!(first_places(&report, "theirs"), None);
    }

    #[test]
    fn a_curve_is_the_mean_of_evaluators_in_per_cent() {
        let figures = ["new pairs/exact", "new style/exact"].map(str::to_owned);
        assert_eq!(curve(LOG, "stage2", &figures).unwrap(), [(5, 50.0), (10, 75.0)]);
        assert_eq!(curve(LOG, "stage2-alone", &figures[..1]).unwrap(), [(5, 0.0)]);
        for (phase, figures) in [("stage2-alone", &figures[..]), ("stage3", &figures[..1])] {
            let error = curve(LOG, phase, figures).unwrap_err().to_string();
            assert!(error.contains(phase) && error.contains("new pairs"), "{error}");
        }
        assert!(curve(LOG, "stage2", &["loss".to_owned()]).is_err());
    }
}
