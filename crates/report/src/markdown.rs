//! The figures as Markdown tables, for the documentation.

use std::fmt::Write as _;

use crate::html::groups;
use crate::{Report, Value};

impl Report {
    /// Retrieval, generated words and the summary as Markdown: per cent with one decimal, one table a held-out part.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        for ((split, images, texts), rows) in
            groups(&self.retrieval, |row| (&row.split, row.images, row.texts))
        {
            let head = ["R@1", "R@5", "R@10", "R@1", "R@5", "R@10", "true over turned"];
            page += &title(
                &format!("Retrieval, {split}: {images} pictures, {texts} texts"),
                "image to text, then text to image",
                &head,
            );
            for row in rows {
                let shares = row
                    .image_to_text
                    .into_iter()
                    .chain(row.text_to_image)
                    .map(Some)
                    .chain([row.relations]);
                page += &line(&row.model, shares);
            }
        }
        for ((split, task, count), rows) in groups(&self.generation, |row| (&row.split, &row.task, row.count))
        {
            page += &title(
                &format!("Words, {split}: {count} of task {task}"),
                "model",
                &["exact match", "token F1"],
            );
            for row in rows {
                page += &line(&row.model, [Some(row.exact), Some(row.f1)].into_iter());
            }
        }
        page += &title("Summary", "figure", &["value"]);
        for (name, value) in &self.summary {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            writeln!(page, "| {name} | {value} |").expect("writing to a string cannot fail");
        }
        page
    }
}

fn title(heading: &str, first: &str, columns: &[&str]) -> String {
    let rule = "---|".repeat(columns.len() + 1);
    format!(
        "\n### {heading}\n\n| {first} | {} |\n|{rule}\n",
        columns.join(" | ")
    )
}

fn line(model: &str, shares: impl Iterator<Item = Option<f64>>) -> String {
    let cells: Vec<String> = shares
        .map(|share| share.map_or("–".to_owned(), |share| format!("{:.1}", 100.0 * share)))
        .collect();
    format!("| {model} | {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use crate::{Report, RetrievalRow};

    #[test]
    fn shares_become_per_cent_and_absent_ones_a_dash() {
        let row = RetrievalRow {
            split: "part".into(),
            model: "ours".into(),
            image_to_text: [0.125, 0.5, 1.0],
            images: 8,
            texts: 24,
            ..Default::default()
        };
        let report = Report {
            retrieval: vec![row],
            summary: vec![("itc".into(), 1.5.into())],
            ..Default::default()
        };
        let page = report.markdown();
        assert!(
            page.contains("### Retrieval, part: 8 pictures, 24 texts"),
            "{page}"
        );
        assert!(
            page.contains("| ours | 12.5 | 50.0 | 100.0 | 0.0 | 0.0 | 0.0 | – |"),
            "{page}"
        );
        assert!(page.contains("| itc | 1.5 |"), "{page}");
    }
}
