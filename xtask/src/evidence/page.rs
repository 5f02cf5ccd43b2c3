//! What was found as a section of `docs/evidence.md`, with a plot beside it.

use std::fmt::Write as _;

use blip2_report::{LossCurve, plot};

use super::claim::Claim;
use super::measure::Curve;
use super::verdict::{Row, sentences};
use crate::comparison::{mean, spread};

/// All that was found of a claim.
pub(crate) struct Findings<'a> {
    pub(crate) claim: &'a Claim,
    pub(crate) seeds: &'a [u64],
    pub(crate) rows: Vec<Row>,
    /// Who made which runs, a line each.
    pub(crate) made: Vec<String>,
}

/// The section of a claim that nobody has asked yet.
pub(crate) fn open_question(claim: &Claim, minutes: u64) -> String {
    format!(
        "{}**Not run yet**: `cargo xtask reproduce {}`, about {minutes} minutes on two cores where none of its runs is there.\n",
        beginning(claim),
        claim.name
    )
}

/// The title, what the paper says and how it is asked.
fn beginning(claim: &Claim) -> String {
    let [paper, here] = [&claim.paper, &claim.here].map(|text| text.trim());
    format!("## {}\n\n{paper}\n\n{here}\n\n", claim.title)
}

impl Findings<'_> {
    /// The section, which shows the file `plot`.
    pub(crate) fn section(&self, plot: &str) -> String {
        let seeds: Vec<String> = self.seeds.iter().map(|seed| format!("seed {seed}")).collect();
        let mut page = beginning(self.claim) + &sentences(self.claim, &self.rows);
        let seeds_of = seeds.join(" | ");
        writeln!(page, "\n| measure | arm | {seeds_of} | mean | spread |").expect("a string");
        writeln!(page, "|---|---|{}", "--:|".repeat(seeds.len() + 2)).expect("a string");
        for row in &self.rows {
            let ends = row.ends();
            let cells = ends.iter().copied().chain([mean(&ends), spread(&ends)]);
            let cells: Vec<String> = cells.map(|value| format!("{value:.1}")).collect();
            writeln!(page, "| {} | {} | {} |", row.measure, row.arm, cells.join(" | ")).expect("a string");
        }
        let lines: String = self.made.iter().map(|line| format!("- {line}\n")).collect();
        format!(
            "{page}\n![{}: {}]({plot})\n\n`cargo xtask reproduce {}`:\n\n{lines}",
            self.claim.title,
            self.shown(),
            self.claim.name
        )
    }

    /// What the plot shows: figures over steps or over the arms' places where there are such, else over seeds.
    fn shown(&self) -> String {
        let measures: Vec<&str> = self
            .claim
            .measures
            .iter()
            .map(|measure| measure.name.as_str())
            .collect();
        if self.claim.arms.iter().all(|arm| arm.at.is_some()) {
            return format!("{}, means of the seeds", measures.join("; "));
        }
        match self.over_steps() {
            true => format!("{} over steps, means of the seeds", measures[0]),
            false => format!("{} with each seed", measures[0]),
        }
    }

    fn over_steps(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.curves)
            .any(|curve| curve.len() > 1)
    }

    /// The plot as an SVG file.
    pub(crate) fn plot(&self) -> String {
        let of_first = |row: &&Row| row.measure == self.claim.measures[0].name;
        let points = self.claim.arms.iter().all(|arm| arm.at.is_some());
        let curves: Vec<LossCurve> = match (points, self.over_steps()) {
            (true, _) => {
                let measures = self.claim.measures.iter();
                measures
                    .flat_map(|measure| self.over_arms(&measure.name))
                    .collect()
            }
            (false, true) => {
                let rows = self.rows.iter().filter(of_first);
                rows.map(|row| named(&row.arm, mean_curve(&row.curves))).collect()
            }
            (false, false) => {
                let rows = self.rows.iter().filter(of_first);
                let over_seeds = |row: &Row| self.seeds.iter().copied().zip(row.ends()).collect();
                rows.map(|row| named(&row.arm, over_seeds(row))).collect()
            }
        };
        plot(&curves)
    }

    /// The means of one measure, at the places of the arms: a curve for each run that they are of.
    fn over_arms(&self, measure: &str) -> Vec<LossCurve> {
        let mut runs: Vec<&str> = Vec::new();
        for arm in &self.claim.arms {
            if !runs.contains(&arm.run.as_str()) {
                runs.push(&arm.run);
            }
        }
        let curve = |run: &&str| {
            let arms = self.claim.arms.iter().filter(|arm| arm.run == *run);
            let points = arms.filter_map(|arm| {
                let row = self
                    .rows
                    .iter()
                    .find(|row| row.measure == measure && row.arm == arm.name)?;
                Some((mean_curve(&row.curves).last()?.0, mean(&row.ends())))
            });
            let name = match runs.len() {
                1 => measure.to_owned(),
                _ => format!("{measure}, {run}"),
            };
            named(&name, points.collect())
        };
        runs.iter().map(curve).collect()
    }
}

fn named(name: &str, points: Curve) -> LossCurve {
    LossCurve {
        name: name.to_owned(),
        points,
        ..LossCurve::default()
    }
}

/// The mean over seeds, step by step.
fn mean_curve(curves: &[Curve]) -> Curve {
    let Some(first) = curves.first() else {
        return Curve::new();
    };
    let at = |number: usize| -> Vec<f64> {
        let values = curves.iter().filter_map(|curve| curve.get(number));
        values.map(|(_, value)| *value).collect()
    };
    let points = first.iter().enumerate();
    points
        .map(|(number, (step, _))| (*step, mean(&at(number))))
        .collect()
}

/// `page` with `section` between the marks of the claim `name`; at its end where it has none.
pub(crate) fn replaced(page: &str, name: &str, section: &str) -> String {
    let [begin, end] = marks(name);
    let marked = format!("{begin}\n{section}{end}\n");
    let places = page.find(&begin).zip(page.find(&end));
    match places {
        Some((from, to)) if from < to => {
            let rest = page[to + end.len()..].trim_start_matches('\n');
            let gap = if rest.is_empty() { "" } else { "\n" };
            format!("{}{marked}{gap}{rest}", &page[..from])
        }
        _ => format!("{}\n\n{marked}", page.trim_end()),
    }
}

/// Whether `page` has a section of the claim `name`, and whether that says what was found.
pub(crate) fn holds(page: &str, name: &str) -> (bool, bool) {
    let [begin, end] = marks(name);
    let section = page.split(&begin).nth(1).and_then(|rest| rest.split(&end).next());
    (
        section.is_some(),
        section.is_some_and(|section| section.contains("| measure | arm |")),
    )
}

fn marks(name: &str) -> [String; 2] {
    [
        format!("<!-- claim {name} -->"),
        format!("<!-- end of claim {name} -->"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::{claim, rows};
    use super::*;

    #[test]
    fn a_section_has_the_sentence_the_figures_and_who_made_them() {
        let claim = claim();
        let findings = Findings {
            claim: &claim,
            seeds: &[42, 43, 44],
            rows: rows([52.0, 53.0, 51.0], [50.0; 3]),
            made: vec!["run: commit abc on a processor".to_owned()],
        };
        let section = findings.section("evidence-one.svg");
        for line in [
            "## A title\n\nWhat the paper says.\n\nHow it is asked.\n\n**The claim stands here.**",
            "| measure | arm | seed 42 | seed 43 | seed 44 | mean | spread |\n|---|---|--:|--:|--:|--:|--:|\n",
            "| R@1 | with | 52.0 | 53.0 | 51.0 | 52.0 | 2.0 |\n",
            "![A title: R@1 over steps, means of the seeds](evidence-one.svg)",
            "`cargo xtask reproduce one`:\n\n- run: commit abc on a processor\n",
        ] {
            assert!(section.contains(line), "{line}\n{section}");
        }
        let drawing = findings.plot();
        assert!(
            drawing.contains(">with<") && drawing.contains(">without<"),
            "{drawing}"
        );
    }

    #[test]
    fn curves_are_averaged_step_by_step_and_arms_with_places_make_one_a_run() {
        assert_eq!(
            mean_curve(&[vec![(5, 1.0), (10, 2.0)], vec![(5, 3.0), (10, 6.0)]]),
            [(5, 2.0), (10, 4.0)]
        );
        let mut claim = claim();
        for (arm, at) in claim.arms.iter_mut().zip([0, 16]) {
            arm.at = Some(at);
        }
        let mut rows = rows([52.0; 3], [50.0; 3]);
        for (row, at) in rows.iter_mut().zip([0, 16]) {
            row.curves = row.curves.iter().map(|curve| vec![(at, curve[1].1)]).collect();
        }
        let drawn = |claim: &Claim| {
            let findings = Findings {
                claim,
                seeds: &[1, 2, 3],
                rows: rows.clone(),
                made: Vec::new(),
            };
            let curves = findings.over_arms("R@1").into_iter();
            curves.map(|curve| (curve.name, curve.points)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(&claim), [("R@1".to_owned(), vec![(0, 52.0), (16, 50.0)])]);
        claim.arms[1].run = "other".to_owned();
        assert_eq!(
            drawn(&claim),
            [
                ("R@1, run".to_owned(), vec![(0, 52.0)]),
                ("R@1, other".to_owned(), vec![(16, 50.0)])
            ]
        );
    }

    #[test]
    fn a_section_takes_the_place_of_its_older_self_and_leaves_the_others() {
        let page = replaced("# Evidence\n\nText.\n", "one", "first\n");
        assert_eq!(
            page,
            "# Evidence\n\nText.\n\n<!-- claim one -->\nfirst\n<!-- end of claim one -->\n"
        );
        let two = replaced(&page, "two", "other\n");
        let newer = replaced(&two, "one", "second\n");
        assert_eq!(newer, two.replace("first", "second"));
        assert_eq!(holds(&newer, "two"), (true, false));
        assert_eq!(holds(&newer, "three"), (false, false));
        let told = replaced(&newer, "two", "| measure | arm |\n");
        assert_eq!(holds(&told, "two"), (true, true));
    }

    #[test]
    fn what_was_not_asked_says_how() {
        let section = open_question(&claim(), 21);
        assert!(
            section.contains("**Not run yet**: `cargo xtask reproduce one`, about 21 minutes"),
            "{section}"
        );
    }
}
