//! The page: what matters most comes first.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::html::{escape, figure, groups, joined, section};
use crate::{LossCurve, Report, ReportError, chart, sheets, tables};

/// The whole page of a checked `report`, with `pictures` by file name as data URIs.
pub(crate) fn html(report: &Report, pictures: &BTreeMap<String, String>) -> Result<String, ReportError> {
    let sections = [
        section(
            "What it says of pictures it has never seen",
            "Struck through: words that the truth has not. Underlined: true words that were not found.",
            &sheets::samples(&report.samples, pictures),
        ),
        section(
            "Figures",
            "Shares from 0 to 1; losses in nats.",
            &cards(&report.summary),
        ),
        section(
            "Losses",
            "Dashed: what knows nothing of the picture. Points are single steps, the line their mean; its last value stands beside the name.",
            &losses(&report.losses),
        ),
        section(
            "Retrieval",
            "Per cent of queries whose match is among the best 1, 5 and 10 of the gallery; the best of each split in bold.",
            &tables::retrieval(&report.retrieval),
        ),
        section(
            "Generated words",
            "Per cent, against the true words; the best of each split in bold.",
            &tables::generation(&report.generation),
        ),
        section(
            "What stage 1 is worth",
            "The same loss from different beginnings.",
            &ablation(&report.ablation),
        ),
        section(
            "Where the queries look",
            "Each tile is one query: clear where it looks, dark where it does not.",
            &sheets::looks(&report.looks, pictures)?,
        ),
        recipe(&report.recipe),
    ];
    // The policy forbids the page to fetch anything, whatever a caption may hold.
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">\n\
        <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
        <header>\n<h1>{title}</h1>\n<p class=\"note\">{machine}</p>\n</header>\n<main>\n{sections}</main>\n</body>\n</html>\n",
        title = escape(&report.title),
        style = include_str!("style.css"),
        machine = escape(&report.machine),
        sections = joined(sections.iter()),
    ))
}

fn cards(summary: &[(String, Value)]) -> String {
    if summary.is_empty() {
        return String::new();
    }
    let cards = summary.iter().map(|(name, value)| {
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_f64() => number.as_f64().map(figure).unwrap_or_default(),
            other => other.to_string(),
        };
        format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(name),
            escape(&shown)
        )
    });
    format!("<dl class=\"cards\">\n{}</dl>\n", joined(cards))
}

fn losses(curves: &[LossCurve]) -> String {
    let phases = groups(curves, |curve| &curve.phase)
        .into_iter()
        .filter_map(|(phase, curves)| {
            let charts = joined(curves.into_iter().filter_map(|curve| {
                let last = figure(chart::last(curve)?);
                let name = escape(&curve.name);
                Some(format!(
                    "<figure><figcaption>{name} <b>{last}</b></figcaption>\n{}</figure>\n",
                    chart::small(curve)
                ))
            }));
            (!charts.is_empty()).then(|| {
                format!(
                    "<h3>{}</h3>\n<div class=\"charts\">\n{charts}</div>\n",
                    escape(phase)
                )
            })
        });
    joined(phases)
}

fn ablation(curves: &[LossCurve]) -> String {
    joined(
        groups(curves, |curve| &curve.phase)
            .into_iter()
            .filter_map(|(phase, curves)| {
                let drawn: Vec<&LossCurve> = curves
                    .into_iter()
                    .filter(|curve| !curve.points.is_empty())
                    .collect();
                let plot = || {
                    format!(
                        "<figure class=\"comparison\"><figcaption>{}</figcaption>\n{}</figure>\n",
                        escape(phase),
                        chart::comparison(&drawn)
                    )
                };
                (!drawn.is_empty()).then(plot)
            }),
    )
}

fn recipe(recipe: &str) -> String {
    if recipe.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<details><summary>Recipe</summary>\n<pre>{}</pre></details>\n</section>\n",
        escape(recipe)
    )
}
