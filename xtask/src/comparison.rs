//! Several runs of the demo beside each other, and whether they show what the demo is to show.

use std::path::Path;

use anyhow::{Result, bail};
use blip2_report::{GenerationRow, Report, RetrievalRow};

/// Minutes that both stages may take together.
const MINUTES: f64 = 10.0;
/// What a difference of shares may lose by rounding.
const ROUNDING: f64 = 1e-9;

/// The summaries of `runs` as one Markdown table with mean and spread, and a line for each thing that the demo is to show.
///
/// # Errors
/// No readable report, or runs of different kinds.
pub(crate) fn markdown(folders: &[impl AsRef<Path>]) -> Result<String> {
    let runs = folders
        .iter()
        .map(|folder| {
            let folder = folder.as_ref();
            let name = folder.file_name().unwrap_or(folder.as_os_str());
            Ok((name.to_string_lossy().into_owned(), Report::read(folder)?))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(format!("{}\n{}", table(&runs)?, verdicts(&runs)))
}

fn table(runs: &[(String, Report)]) -> Result<String> {
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    let mut page = format!("| figure | {} | mean | spread |\n", names.join(" | "));
    page += &format!("|---|{}\n", "---|".repeat(runs.len() + 2));
    let Some((_, first)) = runs.first() else {
        bail!("give at least one run folder")
    };
    for (phase, _) in &first.seconds {
        let label = format!("seconds of {phase}");
        page += &line(&label, 0, &each(runs, &label, |run| seconds(run, phase))?);
    }
    for (label, value) in &first.summary {
        if value.is_number() {
            page += &line(label, 3, &each(runs, label, |run| figure(run, label))?);
        }
    }
    Ok(page)
}

fn each(runs: &[(String, Report)], label: &str, value: impl Fn(&Report) -> Option<f64>) -> Result<Vec<f64>> {
    runs.iter()
        .map(|(name, run)| match value(run) {
            Some(value) => Ok(value),
            None => bail!("{name} has no figure {label:?}: give runs of one recipe"),
        })
        .collect()
}

fn seconds(run: &Report, phase: &str) -> Option<f64> {
    run.seconds
        .iter()
        .find_map(|(name, seconds)| (name == phase).then_some(*seconds))
}

fn figure(run: &Report, label: &str) -> Option<f64> {
    run.summary
        .iter()
        .find_map(|(name, value)| (name == label).then(|| value.as_f64())?)
}

fn line(label: &str, decimals: usize, values: &[f64]) -> String {
    let cells: Vec<String> = values
        .iter()
        .copied()
        .chain([mean(values), spread(values)])
        .map(|value| format!("{value:.decimals$}"))
        .collect();
    format!("| {label} | {} |\n", cells.join(" | "))
}

/// The mean; of nothing no number.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// From the least to the greatest.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let [low, high] = values
        .iter()
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
            [low.min(*value), high.max(*value)]
        });
    high - low
}

/// How much better than the bound each case is, which must not be below 0 anywhere.
struct Condition {
    name: &'static str,
    unit: &'static str,
    /// Case and margin.
    margins: Vec<(String, f64)>,
}

impl Condition {
    fn line(&self) -> String {
        let passed = self.margins.iter().filter(|(_, margin)| *margin >= 0.0).count();
        let verdict = if passed == self.margins.len() && passed > 0 {
            "passes"
        } else {
            "FAILS"
        };
        let closest = self.margins.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let closest = closest.map_or(String::new(), |(case, margin)| {
            format!("; closest: {margin:+.1} {} ({case})", self.unit)
        });
        format!(
            "- {verdict}: {} ({passed} of {}{closest})\n",
            self.name,
            self.margins.len()
        )
    }
}

fn verdicts(runs: &[(String, Report)]) -> String {
    let mut conditions = vec![
        Condition {
            name: "both stages within ten minutes",
            unit: "minutes",
            margins: runs
                .iter()
                .map(|(name, run)| {
                    let spent: f64 = ["stage 1", "stage 2"]
                        .iter()
                        .filter_map(|phase| seconds(run, phase))
                        .sum();
                    (name.clone(), MINUTES - spent / 60.0)
                })
                .collect(),
        },
        Condition {
            name: "captions, token F1 at least twice that with another picture",
            unit: "points",
            margins: over(runs, "caption", |rows| {
                Some(row(rows, GenerationRow::BOTH_STAGES)?.f1 - 2.0 * row(rows, GenerationRow::SWAPPED)?.f1)
            }),
        },
        Condition {
            name: "captions, exact above 10%",
            unit: "points",
            // Ten per cent themselves are not enough.
            margins: over(runs, "caption", |rows| {
                Some(row(rows, GenerationRow::BOTH_STAGES)?.exact - 0.1 - 2.0 * ROUNDING)
            }),
        },
        Condition {
            name: "answers, exact at least 10 points above the most frequent answer",
            unit: "points",
            margins: over(runs, "answer", |rows| {
                let frequent = row(rows, GenerationRow::MOST_FREQUENT)?.exact;
                Some(row(rows, GenerationRow::BOTH_STAGES)?.exact - frequent - 0.1)
            }),
        },
    ];
    let reranking = reranking(runs);
    if !reranking.is_empty() {
        conditions.push(Condition {
            name: "re-ranking by matching costs no point of R@1",
            unit: "points",
            margins: reranking,
        });
    }
    let conditions = conditions.iter().map(Condition::line);
    conditions.chain(units(runs)).collect()
}

/// A margin in points for each run and held-out part that has the task.
fn over(
    runs: &[(String, Report)],
    task: &str,
    margin: impl Fn(&[&GenerationRow]) -> Option<f64>,
) -> Vec<(String, f64)> {
    let mut margins = Vec::new();
    for (name, run) in runs {
        let mut parts: Vec<&str> = run.generation.iter().map(|row| row.split.as_str()).collect();
        parts.dedup();
        for part in parts {
            let rows = run
                .generation
                .iter()
                .filter(|row| row.split == part && row.task == task);
            let share = margin(&rows.collect::<Vec<_>>()).unwrap_or(f64::NAN);
            margins.push((format!("{name}, {part}"), 100.0 * (share + ROUNDING)));
        }
    }
    margins
}

fn row<'a>(rows: &[&'a GenerationRow], model: &str) -> Option<&'a GenerationRow> {
    rows.iter().find(|row| row.model == model).copied()
}

fn reranking(runs: &[(String, Report)]) -> Vec<(String, f64)> {
    let mut margins = Vec::new();
    for (name, run) in runs {
        for after in run
            .retrieval
            .iter()
            .filter(|row| row.model == RetrievalRow::RERANKED)
        {
            let before = run
                .retrieval
                .iter()
                .find(|row| row.split == after.split && row.model == RetrievalRow::BY_CONTRAST);
            let Some(before) = before else { continue };
            for (direction, after_one, before_one) in [
                ("image to text", after.image_to_text[0], before.image_to_text[0]),
                ("text to image", after.text_to_image[0], before.text_to_image[0]),
            ] {
                let case = format!("{name}, {}, {direction}", after.split);
                margins.push((case, 100.0 * (after_one - before_one)));
            }
        }
    }
    margins
}

/// For each loss, whether what the kernels change lies within what the seed changes.
fn units(runs: &[(String, Report)]) -> Vec<String> {
    let mut kinds: Vec<&str> = runs.iter().map(|(_, run)| run.kernels.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() < 2 {
        return Vec::new();
    }
    let is_loss = |label: &str| label.contains("unseen scenes") || label.starts_with("loss ");
    let labels = runs[0].1.summary.iter().map(|(label, _)| label.as_str());
    labels
        .filter(|label| is_loss(label))
        .map(|label| {
            let groups: Vec<Vec<f64>> = kinds
                .iter()
                .map(|kind| {
                    let of_kind = runs.iter().filter(|(_, run)| run.kernels == *kind);
                    of_kind.filter_map(|(_, run)| figure(run, label)).collect()
                })
                .collect();
            let between = spread(&groups.iter().map(|group| mean(group)).collect::<Vec<_>>());
            let within = groups.iter().map(|group| spread(group)).fold(0.0, f64::max);
            let verdict = if between <= within { "passes" } else { "FAILS" };
            format!(
                "- {verdict}: {label}, the means of {} differ by {between:.3}, seeds by {within:.3}\n",
                kinds.join(" and ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, kernels: &str, loss: f64, both: f64) -> (String, Report) {
        let row = |task: &str, model: &str, exact: f64, f1: f64| GenerationRow {
            split: "new pairs".into(),
            task: task.into(),
            model: model.into(),
            exact,
            f1,
            count: 10,
        };
        let report = Report {
            kernels: kernels.into(),
            seconds: vec![("stage 1".into(), 240.0), ("stage 2".into(), 300.0)],
            summary: vec![
                ("itc, unseen scenes".into(), loss.into()),
                ("encoder".into(), "small".into()),
            ],
            generation: vec![
                row("caption", GenerationRow::SWAPPED, 0.0, 0.25),
                row("caption", GenerationRow::BOTH_STAGES, 0.2, both),
                row("answer", GenerationRow::MOST_FREQUENT, 0.25, 0.25),
                row("answer", GenerationRow::BOTH_STAGES, 0.35, 0.4),
            ],
            ..Report::default()
        };
        (name.to_owned(), report)
    }

    #[test]
    fn figures_stand_beside_each_other_with_mean_and_spread() {
        let page = table(&[run("a", "", 1.0, 0.5), run("b", "", 1.5, 0.5)]).unwrap();
        assert!(
            page.starts_with("| figure | a | b | mean | spread |\n|---|---|---|---|---|\n"),
            "{page}"
        );
        assert!(
            page.contains("| itc, unseen scenes | 1.000 | 1.500 | 1.250 | 0.500 |"),
            "{page}"
        );
        assert!(
            page.contains("| seconds of stage 2 | 300 | 300 | 300 | 0 |"),
            "{page}"
        );
        assert!(!page.contains("encoder"), "{page}");
    }

    #[test]
    fn runs_of_another_kind_are_named() {
        let mut other = run("b", "", 1.0, 0.5);
        other.1.summary.clear();
        let error = table(&[run("a", "", 1.0, 0.5), other]).unwrap_err().to_string();
        assert!(error.contains('b') && error.contains("itc"), "{error}");
    }

    #[test]
    fn a_condition_fails_where_one_run_misses_it() {
        let good = run("good", "", 1.0, 0.5);
        let lines = verdicts(std::slice::from_ref(&good));
        assert_eq!(lines.matches("- passes").count(), 4, "{lines}");
        assert!(lines.contains("closest: +1.0 minutes (good)"), "{lines}");
        let lines = verdicts(&[good, run("weak", "", 1.0, 0.49)]);
        assert!(lines.contains("- FAILS: captions, token F1"), "{lines}");
        assert!(
            lines.contains("(1 of 2; closest: -1.0 points (weak, new pairs))"),
            "{lines}"
        );
    }

    #[test]
    fn what_is_missing_or_exactly_ten_per_cent_does_not_pass() {
        let (name, mut report) = run("a", "", 1.0, 0.5);
        report
            .generation
            .retain(|row| row.model != GenerationRow::SWAPPED);
        report.generation[0].exact = 0.1;
        let lines = verdicts(&[(name, report)]);
        assert!(lines.contains("- FAILS: captions, token F1"), "{lines}");
        assert!(lines.contains("- FAILS: captions, exact"), "{lines}");
        assert!(
            verdicts(&[]).matches("- FAILS").count() == 4,
            "nothing shows nothing"
        );
    }

    #[test]
    fn kernels_agree_within_what_seeds_change() {
        let runs = |shift: f64| {
            [
                ("a1", "avx2", 1.0),
                ("a2", "avx2", 1.5),
                ("b1", "avx512", 1.0 + shift),
                ("b2", "avx512", 1.25 + shift),
            ]
            .map(|(name, kernels, loss)| run(name, kernels, loss, 0.5))
        };
        let verdict = |shift: f64| {
            verdicts(&runs(shift))
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned()
        };
        assert!(
            verdict(0.25).starts_with("- passes: itc, unseen scenes, the means of avx2 and avx512"),
            "{}",
            verdict(0.25)
        );
        assert!(verdict(1.0).starts_with("- FAILS: itc"), "{}", verdict(1.0));
    }

    #[test]
    fn reranking_is_judged_where_it_is_shown() {
        let (name, mut report) = run("a", "", 1.0, 0.5);
        let ranked = |model: &str, first: f64| RetrievalRow {
            split: "new pairs".into(),
            model: model.into(),
            image_to_text: [first, 1.0, 1.0],
            ..RetrievalRow::default()
        };
        report.retrieval = vec![
            ranked(RetrievalRow::BY_CONTRAST, 0.5),
            ranked(RetrievalRow::RERANKED, 0.45),
        ];
        let lines = verdicts(&[(name, report)]);
        assert!(
            lines.contains("- FAILS: re-ranking by matching costs no point of R@1 (1 of 2; closest: -5.0"),
            "{lines}"
        );
    }
}
