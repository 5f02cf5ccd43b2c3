//! Curves over steps as inline SVG.

use crate::axis::Axis;
use crate::content::LossCurve;
use crate::html::{escape, figure, joined};

/// Most points that one curve draws: more cannot be told apart at the width of a chart.
const RAW_POINTS: usize = 600;
const SMOOTH_POINTS: usize = 240;
/// Height that one line of text needs.
const LINE: f64 = 15.0;
/// Width of a letter of a label, about.
const LETTER: f64 = 6.4;

/// One curve with its reference, for a page that shows many side by side.
pub(crate) fn small(curve: &LossCurve) -> String {
    draw(&[curve], [360.0, 190.0])
}

/// Several curves in one plot, each with its name at its end.
pub(crate) fn comparison(curves: &[&LossCurve]) -> String {
    draw(curves, [520.0, 250.0])
}

/// The last value of the smoothed curve.
pub(crate) fn last(curve: &LossCurve) -> Option<f64> {
    smoothed(&curve.points).last().map(|&(_, loss)| loss)
}

fn draw(curves: &[&LossCurve], [width, height]: [f64; 2]) -> String {
    let names = curves
        .iter()
        .map(|curve| curve.name.chars().count())
        .max()
        .unwrap_or(0);
    let right = if curves.len() > 1 {
        14.0 + LETTER * names as f64
    } else {
        10.0
    };
    let [left, right, top, bottom] = [38.0, width - right, 10.0, height - 24.0];

    let smooth: Vec<Vec<(f64, f64)>> = curves.iter().map(|curve| smoothed(&curve.points)).collect();
    let steps = curves
        .iter()
        .flat_map(|curve| &curve.points)
        .map(|&(step, _)| step as f64);
    let across = Axis::around(steps, [left, right]);
    let reference = curves
        .iter()
        .find_map(|curve| Some((curve.reference?, curve.reference_label.as_str())));
    let losses = smooth
        .iter()
        .flatten()
        .map(|&(_, loss)| loss)
        .chain(curves.iter().flat_map(|curve| ordinary(curve)));
    let up = Axis::around(losses.chain(reference.map(|(loss, _)| loss)), [bottom, top]).with_air();

    let label = joined(
        curves
            .iter()
            .map(|curve| format!("{} {}. ", curve.phase, curve.name)),
    );
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n{}{}{}{}{}</svg>\n",
        escape(label.trim_end()),
        grid(&across, &up),
        joined(
            curves
                .iter()
                .enumerate()
                .map(|(index, curve)| dots(index, &curve.points, &across, &up))
        ),
        reference
            .map(|(loss, label)| reference_line(loss, label, &across, &up))
            .unwrap_or_default(),
        joined(
            smooth
                .iter()
                .enumerate()
                .map(|(index, points)| line(index, points, &across, &up))
        ),
        if curves.len() > 1 {
            names_at_the_end(curves, &smooth, &across, &up)
        } else {
            String::new()
        },
    )
}

/// The least and greatest loss but for the outermost fiftieth, which may leave the plot.
fn ordinary(curve: &LossCurve) -> Vec<f64> {
    let mut losses: Vec<f64> = curve.points.iter().map(|&(_, loss)| loss).collect();
    losses.sort_by(f64::total_cmp);
    let margin = losses.len() / 50;
    losses
        .get(margin)
        .into_iter()
        .chain(losses.iter().rev().nth(margin))
        .copied()
        .collect()
}

/// Means over a window of a twentieth of the curve, which is shorter at its start, where losses fall fast.
fn smoothed(points: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 40;
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(points.iter().scan(0.0, |sum, &(_, loss)| {
            *sum += loss;
            Some(*sum)
        }))
        .collect();
    let mean = |(index, &(step, _)): (usize, &(u64, f64))| {
        let reach = reach.min(index);
        let (from, to) = (index - reach, (index + reach + 1).min(points.len()));
        (step as f64, (sums[to] - sums[from]) / (to - from) as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

/// At most `count` of the items and always the last.
fn thinned<Item: Copy>(items: &[Item], count: usize) -> impl Iterator<Item = Item> {
    let stride = items.len().div_ceil(count).max(1);
    items.iter().rev().step_by(stride).rev().copied()
}

fn grid(across: &Axis, up: &Axis) -> String {
    let [left, right] = across.range;
    let [bottom, _] = up.range;
    let rows = up.ticks(4, 0.0).into_iter().map(|(loss, label)| {
        let y = up.at(loss);
        format!(
            "<path class=\"grid\" d=\"M{left} {y:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            left - 6.0,
            y + 4.0
        )
    });
    let columns = across.ticks(5, 1.0).into_iter().map(|(step, label)| {
        let x = across.at(step);
        format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
            bottom + 17.0
        )
    });
    joined(rows.chain(columns))
}

fn dots(index: usize, points: &[(u64, f64)], across: &Axis, up: &Axis) -> String {
    let dots = thinned(points, RAW_POINTS)
        .filter(|&(_, loss)| up.holds(loss))
        .map(|(step, loss)| format!("M{:.1} {:.1}h0", across.at(step as f64), up.at(loss)));
    format!("<path class=\"dots c{}\" d=\"{}\"/>\n", index % 4, joined(dots))
}

fn line(index: usize, points: &[(f64, f64)], across: &Axis, up: &Axis) -> String {
    let places = thinned(points, SMOOTH_POINTS)
        .map(|(step, loss)| format!("{:.1},{:.1} ", across.at(step), up.at(loss)));
    format!(
        "<polyline class=\"line c{}\" points=\"{}\"/>\n",
        index % 4,
        joined(places).trim_end()
    )
}

fn reference_line(loss: f64, label: &str, across: &Axis, up: &Axis) -> String {
    let [left, right] = across.range;
    let y = up.at(loss);
    // Below the line where there is no room above it.
    let text = if y - up.range[1] < LINE { y + 13.0 } else { y - 5.0 };
    format!(
        "<path class=\"reference\" d=\"M{left} {y:.1}H{right:.1}\"/><text class=\"halo\" x=\"{right:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{} {}</text>\n",
        escape(label),
        figure(loss)
    )
}

/// Each name beside the end of its curve, moved down where two would cover each other.
fn names_at_the_end(curves: &[&LossCurve], smooth: &[Vec<(f64, f64)>], across: &Axis, up: &Axis) -> String {
    let mut ends: Vec<(f64, usize)> = smooth
        .iter()
        .enumerate()
        .filter_map(|(index, points)| points.last().map(|&(_, loss)| (up.at(loss), index)))
        .collect();
    ends.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut free = up.range[1];
    joined(ends.into_iter().map(|(y, index)| {
        let y = y.max(free);
        free = y + LINE;
        format!(
            "<text class=\"name c{}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            index % 4,
            across.range[1] + 8.0,
            y + 4.0,
            escape(&curves[index].name)
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_what_is_straight_and_calms_what_is_not() {
        let flat: Vec<(u64, f64)> = (0..200).map(|step| (step, 2.0)).collect();
        assert!(smoothed(&flat).iter().all(|&(_, loss)| (loss - 2.0).abs() < 1e-9));
        let jagged: Vec<(u64, f64)> = (0..200).map(|step| (step, (step % 2) as f64)).collect();
        let calm = smoothed(&jagged);
        assert_eq!(calm.len(), 200);
        assert!(calm[20..].iter().all(|&(_, loss)| (loss - 0.5).abs() < 0.1));
        assert_eq!(calm[0], (0.0, 0.0), "the first loss is not mixed with later ones");
    }

    #[test]
    fn thinning_keeps_the_order_and_the_last() {
        let items: Vec<usize> = (0..1001).collect();
        let kept: Vec<usize> = thinned(&items, 100).collect();
        assert!(kept.len() <= 100 && kept.is_sorted());
        assert_eq!(kept.last(), Some(&1000));
        assert_eq!(thinned(&items[..3], 100).count(), 3);
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let curve = |name: &str| LossCurve {
            name: name.to_owned(),
            points: vec![(0, 1.0), (9, 0.5)],
            ..LossCurve::default()
        };
        let (first, second) = (curve("first"), curve("second"));
        let drawing = comparison(&[&first, &second]);
        let heights: Vec<f64> = drawing
            .lines()
            .filter(|line| line.contains("class=\"name"))
            .map(|line| {
                line.split(" y=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert_eq!(heights.len(), 2);
        assert!((heights[0] - heights[1]).abs() >= LINE);
    }
}
