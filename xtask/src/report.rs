//! Showing the final figures of a run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The figures under `summary` in the `report.json` of the run folder `run`, as an aligned table.
///
/// # Errors
/// No such file, or one without a summary.
pub(crate) fn table(run: &Path) -> Result<String> {
    let path = run.join("report.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let summary = report.get("summary").and_then(Value::as_object);
    let summary = summary.with_context(|| format!("{} has no object `summary`", path.display()))?;

    let rows: Vec<(&String, String)> = summary
        .iter()
        .map(|(name, value)| (name, figure(value)))
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
    use super::*;

    #[test]
    fn figures_stand_in_columns_under_their_own_names() {
        let folder = tempfile::tempdir().unwrap();
        let report = r#"{"summary": {"itc loss": 1.25, "steps": 900, "style": "noto"}}"#;
        fs::write(folder.path().join("report.json"), report).unwrap();
        let expected = "  itc loss  1.2500\n  steps        900\n  style       noto\n";
        assert_eq!(table(folder.path()).unwrap(), expected);
    }

    #[test]
    fn a_report_without_a_summary_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", table(folder.path()).unwrap_err()).contains("report.json"));
        fs::write(folder.path().join("report.json"), "{}").unwrap();
        let error = format!("{:#}", table(folder.path()).unwrap_err());
        assert!(error.contains("report.json has no object `summary`"), "{error}");
    }
}
