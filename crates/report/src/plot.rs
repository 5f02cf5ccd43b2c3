//! A plot as a file of its own, for the documentation.

use crate::LossCurve;
use crate::chart;

const STYLE: &str = include_str!("style.css");

/// Several curves in one SVG file that needs nothing else.
pub fn plot(curves: &[LossCurve]) -> String {
    let drawing = chart::comparison(&curves.iter().collect::<Vec<_>>());
    drawing
        .replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
        .replacen(">\n", &format!(">\n<style>\n{STYLE}</style>\n"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_its_style_and_every_name() {
        let curve = |name: &str| LossCurve {
            name: name.to_owned(),
            points: vec![(1, 0.5), (64, 8.0)],
            ..LossCurve::default()
        };
        let file = plot(&[curve("ours"), curve("theirs")]);
        assert!(
            file.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox"),
            "{file}"
        );
        assert!(file.contains("--c0:") && file.contains(">ours<") && file.contains(">theirs<"));
        let style = file
            .split("<style>")
            .nth(1)
            .and_then(|rest| rest.split("</style>").next())
            .unwrap();
        assert!(!style.contains(['<', '&']), "would have to be escaped");
    }
}
