//! The outcomes as lines on a screen and as Markdown.

use std::fmt::Write as _;

use super::ground::Ground;
use super::outcome::{Machine, Outcome};

/// The line above all of [`line()`].
pub(super) fn head() -> String {
    format!(
        "{:<38} {:>10} {:>10} {:>6} {:>5} {:>11} {:>13} {:>6}",
        "name", "ours", "peer", "ratio", "goal", "spread %", "peak MB", "limit%"
    )
}

/// One outcome: medians, their ratio and its goal, then of both sides the spread and the peak memory, and how much of
/// what the hardware allows we reach.
pub(super) fn line(outcome: &Outcome) -> String {
    let [ours, peer] = [outcome.ours_s, outcome.peer_s].map(time);
    let spread = format!(
        "{:.0} {:.0}",
        100.0 * outcome.ours_spread,
        100.0 * outcome.peer_spread
    );
    let peaks = format!(
        "{} {}",
        megabytes(outcome.ours_peak_bytes),
        megabytes(outcome.peer_peak_bytes)
    );
    let pace = outcome.pace().map_or(String::new(), |pace| format!("  {pace}"));
    format!(
        "{:<38} {ours:>10} {peer:>10} {:>6.2} {:>5} {spread:>11} {peaks:>13} {:>6}{pace}",
        outcome.name,
        outcome.ratio,
        goal(outcome),
        reached(outcome),
    )
}

/// What it was measured on, then a table of all outcomes and what else is to be said; rows that miss their goal are in bold.
pub(super) fn markdown(
    ground: Ground,
    machine: &Machine,
    outcomes: &[Outcome],
    comparisons: &[String],
) -> String {
    let mut page = format!(
        "### {}\n\nMeasured on {}.\n\n| name | ours | peer | ratio | goal | spread, ours and peer | peak memory, ours and peer | of the \
         hardware's limit |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
        ground.title(),
        machine.line()
    );
    for outcome in outcomes {
        let missed = outcome.goal.is_some_and(|goal| outcome.ratio < goal);
        let ratio = match missed {
            true => format!("**{:.2}**", outcome.ratio),
            false => format!("{:.2}", outcome.ratio),
        };
        writeln!(
            page,
            "| `{}` | {} | {} | {ratio} | {} | {:.0}%, {:.0}% | {} MB, {} MB | {} |",
            outcome.name,
            time(outcome.ours_s),
            time(outcome.peer_s),
            goal(outcome),
            100.0 * outcome.ours_spread,
            100.0 * outcome.peer_spread,
            megabytes(outcome.ours_peak_bytes),
            megabytes(outcome.peer_peak_bytes),
            reached(outcome),
        )
        .expect("writing to a string cannot fail");
    }
    let paces = outcomes
        .iter()
        .filter_map(|outcome| Some(format!("`{}`: {}.", outcome.name, outcome.pace()?)));
    for sentence in paces.chain(comparisons.iter().cloned()) {
        page += &format!("\n{sentence}\n");
    }
    page
}

fn goal(outcome: &Outcome) -> String {
    outcome.goal.map_or("–".to_owned(), |goal| format!("{goal:.1}"))
}

fn reached(outcome: &Outcome) -> String {
    let share = |limit| format!("{:.0}%", 100.0 * limit / outcome.ours_s);
    outcome.limit_s.map_or("–".to_owned(), share)
}

fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        0.01.. => format!("{:.1} ms", 1e3 * seconds),
        _ => format!("{:.3} ms", 1e3 * seconds),
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}
