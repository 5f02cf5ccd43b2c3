//! Showing the final figures of a run.

use std::path::Path;

use anyhow::Result;
use blip2_report::{Report, Value};

/// The figures under `summary` in the `report.json` of the run folder `run`, as an aligned table.
///
/// # Errors
/// No such file, or one without a summary.
pub(crate) fn table(run: &Path) -> Result<String> {
    let rows: Vec<(String, String)> = Report::read_summary(run)?
        .into_iter()
        .map(|(name, value)| (name, figure(&value)))
        .collect();
    let names = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let figures = rows
        .iter()
        .map(|(_, figure)| figure.chars().count())
        .max()
        .unwrap_or(0);
    Ok(rows
        .iter()
        .map(|(name, figure)| format!("  {name:<names$}  {figure:>figures$}\n"))
        .collect())
}

/// All figures of the run folder `run`, as Markdown.
///
/// # Errors
/// No readable report.
pub(crate) fn markdown(run: &Path) -> Result<String> {
    Ok(Report::read(run)?.markdown())
}

fn figure(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() => format!("{real:.4}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn figures_stand_in_columns_in_their_own_order() {
        let folder = tempfile::tempdir().unwrap();
        let report = r#"{"summary": {"steps": 900, "itc loss": 1.25, "style": "noto"}}"#;
        fs::write(folder.path().join("report.json"), report).unwrap();
        let expected = "  steps        900\n  itc loss  1.2500\n  style       noto\n";
        assert_eq!(table(folder.path()).unwrap(), expected);
    }

    #[test]
    fn a_report_without_a_summary_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", table(folder.path()).unwrap_err()).contains("report.json"));
        fs::write(folder.path().join("report.json"), "{}").unwrap();
        let error = format!("{:#}", table(folder.path()).unwrap_err());
        assert!(error.contains("missing field `summary`"), "{error}");
    }
}
