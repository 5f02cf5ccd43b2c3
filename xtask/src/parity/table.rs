//! The comparisons of a run as a Markdown table: a row for each quantity of a folder, with the comparison that came nearest
//! to its tolerance; what is identical, and must be, in one row for the folder.

use std::collections::{BTreeMap, BTreeSet};

use blip2_golden::{Comparison, Measure};

/// The table, with a line for each quantity, and one for all of a folder that are identical.
pub(super) fn markdown(comparisons: &[Comparison]) -> String {
    let mut identical: BTreeMap<&str, (BTreeSet<String>, usize)> = BTreeMap::new();
    let mut rows: BTreeMap<(&str, String, String), Vec<&Comparison>> = BTreeMap::new();
    for comparison in comparisons {
        let (subject, quantity) = (comparison.subject.as_str(), quantity(comparison));
        if matches!(comparison.measure, Measure::Identical) && comparison.passed() {
            let (quantities, compared) = identical.entry(subject).or_default();
            quantities.insert(quantity);
            *compared += 1;
        } else {
            let key = (subject, quantity, tolerance(comparison));
            rows.entry(key).or_default().push(comparison);
        }
    }
    let row = |subject: &str, quantity: &str, compared: usize, tolerance: &str, measured: &str| {
        format!("| `{subject}` | {quantity} | {compared} | {tolerance} | {measured} |\n")
    };
    let mut lines: Vec<String> = identical
        .into_iter()
        .map(|(subject, (quantities, compared))| {
            let quantities = Vec::from_iter(quantities).join(", ");
            row(subject, &quantities, compared, "identical", "identical")
        })
        .collect();
    for ((subject, quantity, tolerance), compared) in rows {
        let worst = compared.iter().copied().max_by(|one, other| {
            let part = |comparison: &Comparison| comparison.difference / comparison.allowed;
            part(one).total_cmp(&part(other))
        });
        let measured = worst.map(measured).unwrap_or_default();
        lines.push(row(subject, &quantity, compared.len(), &tolerance, &measured));
    }
    lines.sort();
    "| data | quantity | compared | tolerance | measured |\n|---|---|--:|---|---|\n".to_owned()
        + &lines.concat()
}

/// What is compared, without which of its kind.
fn quantity(comparison: &Comparison) -> String {
    let what = &*comparison.what;
    let quantity = what.split_once('/').map_or(what, |(quantity, _)| quantity);
    quantity.replace(['-', '_'], " ")
}

fn tolerance(comparison: &Comparison) -> String {
    match comparison.measure {
        Measure::Largest { tolerance } => format!("{tolerance:.0e} of the largest"),
        Measure::Absolute if comparison.allowed == 0.0 => "none".to_owned(),
        Measure::Absolute => "absolute".to_owned(),
        Measure::Identical => "identical".to_owned(),
    }
}

/// The difference in the unit of its tolerance.
fn measured(comparison: &Comparison) -> String {
    let verdict = if comparison.passed() { "" } else { " (FAILED)" };
    let difference = comparison.difference;
    let measured = match comparison.measure {
        Measure::Largest { .. } | Measure::Absolute if difference == 0.0 => "0".to_owned(),
        Measure::Largest { tolerance } => format!("{:.1e}", difference / comparison.allowed * tolerance),
        Measure::Absolute if comparison.allowed > 0.0 => {
            format!("{difference:.1e}, {:.1e} allowed", comparison.allowed)
        }
        Measure::Absolute => format!("{difference:.1e}"),
        Measure::Identical if comparison.passed() => "identical".to_owned(),
        Measure::Identical => format!("{difference} places differ"),
    };
    measured + verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_of_the_comparison_nearest_to_its_tolerance() {
        let comparison = |what: &str, difference, allowed, measure| Comparison {
            difference,
            allowed,
            measure,
            ..Comparison::failed("parts/a", what)
        };
        let largest = Measure::Largest { tolerance: 2e-4 };
        let table = markdown(&[
            comparison("logits/0", 1e-6, 2e-3, largest),
            comparison("logits/1", 1e-6, 2e-4, largest),
            comparison("ids/0", 0.0, 0.0, Measure::Identical),
            comparison("prompt_ids/0", 0.0, 0.0, Measure::Identical),
            comparison("text", 1.0, 0.0, Measure::Identical),
            comparison("score", 2e-6, 1e-5, Measure::Absolute),
        ]);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `parts/a` | ids, prompt ids | 2 | identical | identical |",
                "| `parts/a` | logits | 2 | 2e-4 of the largest | 1.0e-6 |",
                "| `parts/a` | score | 1 | absolute | 2.0e-6, 1.0e-5 allowed |",
                "| `parts/a` | text | 1 | identical | 1 places differ (FAILED) |",
            ]
        );
    }
}
