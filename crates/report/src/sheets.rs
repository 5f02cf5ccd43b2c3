//! Pictures: the contact sheet of samples, and where the queries look.

use std::collections::BTreeMap;

use crate::html::{escape, groups, joined};
use crate::pictures::data_uri;
use crate::{Look, ReportError, Sample, heat, words};

/// The samples, a grid a split. A kind of text that no sample has is left out.
pub(crate) fn samples(samples: &[Sample], pictures: &BTreeMap<String, String>) -> String {
    let has_captions = samples.iter().any(|sample| !sample.caption.is_empty());
    joined(
        groups(samples, |sample| &sample.split)
            .into_iter()
            .map(|(split, samples)| {
                let cards = samples
                    .into_iter()
                    .map(|sample| card(sample, has_captions, &pictures[&sample.picture]));
                format!(
                    "<h3>{}</h3>\n<div class=\"sheet\">\n{}</div>\n",
                    escape(split),
                    joined(cards)
                )
            }),
    )
}

fn card(sample: &Sample, has_captions: bool, picture: &str) -> String {
    let mut lines = Vec::new();
    let writer = sample.caption_is.as_deref().unwrap_or("Language model");
    let writer = escape(writer);
    if has_captions {
        lines.push(("True caption", words::truth(&sample.truth, &sample.caption)));
        lines.push((writer.as_str(), words::written(&sample.caption, &sample.truth)));
    } else if !sample.truth.is_empty() {
        lines.push(("True caption", escape(&sample.truth)));
    }
    if let Some(written) = &sample.caption_of_another {
        lines.push((
            "Language model, with another picture",
            words::written(written, &sample.truth),
        ));
    }
    if let Some(written) = &sample.written_by_qformer {
        lines.push(("Q-Former alone", words::written(written, &sample.truth)));
    }
    if !sample.question.is_empty() {
        lines.push(("Question", escape(&sample.question)));
        lines.push(("True answer", words::truth(&sample.answer, &sample.predicted)));
        lines.push(("Answer", words::written(&sample.predicted, &sample.answer)));
    }
    let lines = lines
        .into_iter()
        .map(|(term, words)| format!("<dt>{term}</dt><dd>{words}</dd>\n"));
    format!(
        "<article><img src=\"{picture}\" alt=\"{}\">\n<dl>\n{}</dl></article>\n",
        escape(&sample.truth),
        joined(lines)
    )
}

/// Each picture beside itself under the attention of every query.
pub(crate) fn looks(looks: &[Look], pictures: &BTreeMap<String, String>) -> Result<String, ReportError> {
    let sheets: Result<Vec<String>, ReportError> = looks
        .iter()
        .enumerate()
        .map(|(index, look)| {
            let tiles: Result<Vec<String>, ReportError> =
                (0..look.queries.len()).map(|query| tile(look, index, query)).collect();
            // The picture is written once, as a background that all tiles of this look share.
            Ok(format!(
                "<style>.look{index}{{background-image:url({});aspect-ratio:{}/{}}}</style>\n\
                <figure class=\"look\"><figcaption>{}</figcaption>\n<div class=\"tiles\">\n\
                <span class=\"tile plain look{index}\" role=\"img\" aria-label=\"the picture\"></span>\n{}</div></figure>\n",
                pictures[&look.picture],
                look.grid[1],
                look.grid[0],
                escape(&look.caption),
                joined(tiles?.iter())
            ))
        })
        .collect();
    Ok(joined(sheets?.iter()))
}

fn tile(look: &Look, index: usize, query: usize) -> Result<String, ReportError> {
    let layer = heat::layer(&look.queries[query], look.grid).map_err(|source| ReportError::Encode {
        picture: look.picture.clone(),
        query,
        source,
    })?;
    let name = format!("query {}", query + 1);
    Ok(format!(
        "<span class=\"tile look{index}\" title=\"{name}\"><img src=\"{}\" alt=\"{name}\"></span>\n",
        data_uri(&layer)
    ))
}
