//! Recall and the quality of generated words as tables, a group of rows for all that may be compared.

use crate::html::{escape, groups, joined};
use crate::{GenerationRow, RetrievalRow};

/// Recall, best of a split in bold; nothing for no rows.
pub(crate) fn retrieval(rows: &[RetrievalRow]) -> String {
    let head = "<tr><th rowspan=\"2\">Model</th><th colspan=\"3\">Image to text</th><th colspan=\"3\">Text to image</th><th rowspan=\"2\">True over turned</th></tr>\n\
        <tr><th>R@1</th><th>R@5</th><th>R@10</th><th>R@1</th><th>R@5</th><th>R@10</th></tr>\n";
    let bodies = groups(rows, |row| (&row.split, row.images, row.texts))
        .into_iter()
        .map(|((split, images, texts), rows)| {
            let rows: Vec<(&str, Vec<Option<f64>>)> = rows
                .into_iter()
                .map(|row| {
                    let recall = [row.image_to_text, row.text_to_image].concat();
                    let shares = recall.into_iter().map(Some).chain([row.relations]);
                    (row.model.as_str(), shares.collect())
                })
                .collect();
            body(split, &format!("{images} pictures, {texts} texts"), &rows)
        });
    table(head, &joined(bodies))
}

/// Exact match and token F1, best of a split in bold; nothing for no rows.
pub(crate) fn generation(rows: &[GenerationRow]) -> String {
    let head = "<tr><th>Model</th><th>Exact match</th><th>Token F1</th></tr>\n";
    let bodies = groups(rows, |row| (&row.split, &row.task, row.count))
        .into_iter()
        .map(|((split, task, count), rows)| {
            let rows: Vec<(&str, Vec<Option<f64>>)> = rows
                .into_iter()
                .map(|row| (row.model.as_str(), vec![Some(row.exact), Some(row.f1)]))
                .collect();
            body(split, &format!("{task}, {count} written"), &rows)
        });
    table(head, &joined(bodies))
}

fn table(head: &str, bodies: &str) -> String {
    if bodies.is_empty() {
        return String::new();
    }
    format!("<div class=\"wide\"><table>\n<thead>\n{head}</thead>\n{bodies}</table></div>\n")
}

/// The rows of one group below its heading. What is best of several stands out; what is best of one does not.
fn body(split: &str, about: &str, rows: &[(&str, Vec<Option<f64>>)]) -> String {
    let best = |column: usize| {
        rows.iter()
            .filter_map(|(_, shares)| shares[column])
            .fold(0.0, f64::max)
    };
    let columns = rows.first().map_or(0, |(_, shares)| shares.len());
    let lines = rows.iter().map(|(model, shares)| {
        let cells = shares.iter().enumerate().map(|(column, &share)| {
            let Some(share) = share else {
                return "<td>–</td>".to_owned();
            };
            let percent = format!("{:.1}", 100.0 * share);
            let shown = match rows.len() > 1 && share > 0.0 && share == best(column) {
                true => format!("<b>{percent}</b>"),
                false => percent.clone(),
            };
            format!("<td style=\"--share:{percent}%\">{shown}</td>")
        });
        format!(
            "<tr><th scope=\"row\">{}</th>{}</tr>\n",
            escape(model),
            joined(cells)
        )
    });
    format!(
        "<tbody>\n<tr class=\"group\"><th colspan=\"{}\">{} <span>{}</span></th></tr>\n{}</tbody>\n",
        columns + 1,
        escape(split),
        escape(about),
        joined(lines)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(split: &str, model: &str, first: f64) -> RetrievalRow {
        let recall = [first, 0.5, 1.0];
        let (split, model) = (split.to_owned(), model.to_owned());
        RetrievalRow {
            split,
            model,
            image_to_text: recall,
            text_to_image: [0.0; 3],
            relations: None,
            images: 10,
            texts: 30,
        }
    }

    #[test]
    fn the_best_of_each_split_is_bold() {
        let page = retrieval(&[
            row("style", "ours", 0.5),
            row("pairs", "ours", 0.25),
            row("style", "mean", 0.375),
        ]);
        assert!(
            page.contains("<b>50.0</b>") && !page.contains("<b>37.5</b>"),
            "{page}"
        );
        assert!(
            !page.contains("<b>25.0</b>"),
            "one row alone is not the best of any"
        );
        assert!(!page.contains("<b>0.0</b>"), "nothing is not the best");
        assert_eq!(
            page.matches("<tbody>").count(),
            2,
            "rows of one split stand together"
        );
    }
}
