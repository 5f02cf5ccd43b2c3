//! Whether a claim stands here: a rule over the differences between two arms, seed by seed.

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::measure::Curve;
use crate::comparison::mean;

/// What one measure says of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) arm: String,
    /// For each seed.
    pub(crate) curves: Vec<Curve>,
}

impl Row {
    /// What is compared: for each seed the last figure.
    pub(crate) fn ends(&self) -> Vec<f64> {
        let ends = self.curves.iter().map(|curve| curve.last());
        ends.map(|end| end.map_or(f64::NAN, |(_, value)| *value))
            .collect()
    }
}

/// What the seeds say of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Every seed has the claimed sign.
    Stands,
    /// Not every seed, but the mean.
    Open,
    /// Not even the mean.
    Falls,
}

impl Verdict {
    fn of(differences: &[f64]) -> Self {
        match (
            differences.iter().all(|difference| *difference > 0.0),
            mean(differences) > 0.0,
        ) {
            (true, true) => Self::Stands,
            (false, true) => Self::Open,
            _ => Self::Falls,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Stands => "stands",
            Self::Open => "is open",
            Self::Falls => "does not stand",
        }
    }
}

/// One sentence on the claim, and a line for each comparison with its differences.
pub(crate) fn sentences(claim: &Claim, rows: &[Row]) -> String {
    let (mut verdicts, mut lines) = (Vec::new(), String::new());
    for measure in claim.measures.iter().filter(|measure| measure.judged) {
        for [better, worse] in &claim.better {
            let ends = |arm: &str| {
                let row = rows
                    .iter()
                    .find(|row| row.measure == measure.name && row.arm == arm);
                row.map(Row::ends).unwrap_or_default()
            };
            let differences = ends(better).into_iter().zip(ends(worse));
            let differences: Vec<f64> = differences.map(|(better, worse)| better - worse).collect();
            let verdict = Verdict::of(&differences);
            let [least, most] =
                [f64::min, f64::max].map(|of| differences.iter().copied().reduce(of).unwrap_or(f64::NAN));
            lines += &format!(
                "- {}: {better} over {worse} {}, {:+.1} points ({least:+.1} to {most:+.1}).\n",
                measure.name,
                verdict.words(),
                mean(&differences)
            );
            verdicts.push(verdict);
        }
    }
    let all = |verdict: Verdict| verdicts.iter().all(|one| *one == verdict);
    let whole = if all(Verdict::Stands) {
        "The claim stands here."
    } else if all(Verdict::Falls) {
        "The claim does not stand here."
    } else if verdicts.contains(&Verdict::Stands) {
        "The claim stands in part here."
    } else {
        "The claim is open here."
    };
    format!("**{whole}**\n\n{lines}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evidence::claim::{Arm, Measure, Source};

    /// Two arms, `with` and `without`, of which `with` should be better in one measure.
    pub(crate) fn claim() -> Claim {
        let arm = |name: &str| Arm {
            name: name.to_owned(),
            run: "run".to_owned(),
            phase: "stage2".to_owned(),
            options: Vec::new(),
            at: None,
        };
        Claim {
            name: "one".to_owned(),
            number: 1,
            title: "A title".to_owned(),
            paper: "What the paper says.".to_owned(),
            here: "How it is asked.".to_owned(),
            arms: vec![arm("with"), arm("without")],
            better: vec![["with".to_owned(), "without".to_owned()]],
            measures: vec![Measure {
                name: "R@1".to_owned(),
                judged: true,
                by: Source::Log(Vec::new()),
            }],
        }
    }

    pub(crate) fn rows(with: [f64; 3], without: [f64; 3]) -> Vec<Row> {
        let row = |arm: &str, ends: [f64; 3]| Row {
            measure: "R@1".to_owned(),
            arm: arm.to_owned(),
            curves: ends.map(|end| vec![(1, 99.0), (2, end)]).to_vec(),
        };
        vec![row("with", with), row("without", without)]
    }

    #[test]
    fn the_sentence_follows_from_the_seeds() {
        for (with, said, line) in [
            (
                [52.0, 53.0, 51.0],
                "The claim stands here.",
                "stands, +2.0 points (+1.0 to +3.0)",
            ),
            (
                [52.0, 53.0, 49.0],
                "The claim is open here.",
                "is open, +1.3 points (-1.0 to +3.0)",
            ),
            (
                [52.0, 50.0, 50.0],
                "The claim is open here.",
                "is open, +0.7 points (+0.0 to +2.0)",
            ),
            (
                [52.0, 49.0, 49.0],
                "The claim does not stand here.",
                "does not stand, +0.0 points",
            ),
            ([f64::NAN; 3], "The claim does not stand here.", "does not stand"),
        ] {
            let text = sentences(&claim(), &rows(with, [50.0; 3]));
            assert!(text.contains(said) && text.contains(line), "{text}");
        }
    }

    #[test]
    fn measures_that_disagree_let_a_claim_stand_in_part() {
        let mut claim = claim();
        let second = Measure {
            name: "R@5".to_owned(),
            ..claim.measures[0].clone()
        };
        claim.measures.push(second);
        let mut all = rows([52.0; 3], [50.0; 3]);
        all.extend(rows([48.0; 3], [50.0; 3]).into_iter().map(|row| Row {
            measure: "R@5".to_owned(),
            ..row
        }));
        let text = sentences(&claim, &all);
        assert!(text.contains("The claim stands in part here."), "{text}");
        assert_eq!(text.matches("\n- ").count(), 2, "{text}");
        claim.measures[1].judged = false;
        let text = sentences(&claim, &all);
        assert!(
            text.contains("The claim stands here.") && !text.contains("R@5"),
            "{text}"
        );
    }
}
