//! What a report must fulfil before a word of it is written.

use serde_json::Value;

use crate::{Look, Report, ReportError};

const SHARE: &str = "a share from 0 to 1";

impl Report {
    /// That every figure is one that JSON can hold and a reader can believe.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        for (name, value) in &self.summary {
            if !matches!(value, Value::Number(_) | Value::String(_)) {
                return Err(ReportError::Summary {
                    name: name.clone(),
                    value: value.clone(),
                });
            }
        }
        for curve in self.losses.iter().chain(&self.ablation) {
            let what = |place: &str| format!("{} {} {place}", curve.phase, curve.name);
            for &(step, loss) in &curve.points {
                figure(
                    loss.is_finite(),
                    || what(&format!("at step {step}")),
                    loss,
                    "a finite number",
                )?;
            }
            let reference = curve.reference.unwrap_or(0.0);
            figure(
                reference.is_finite(),
                || what("of the reference"),
                reference,
                "a finite number",
            )?;
        }
        for row in &self.retrieval {
            for share in row
                .image_to_text
                .into_iter()
                .chain(row.text_to_image)
                .chain(row.relations)
            {
                let what = || format!("the recall of {} on {}", row.model, row.split);
                figure((0.0..=1.0).contains(&share), what, share, SHARE)?;
            }
        }
        for row in &self.generation {
            for share in [row.exact, row.f1] {
                let what = || format!("the {} of {} on {}", row.task, row.model, row.split);
                figure((0.0..=1.0).contains(&share), what, share, SHARE)?;
            }
        }
        self.looks.iter().try_for_each(look)
    }
}

fn look(look: &Look) -> Result<(), ReportError> {
    let [rows, columns] = look.grid;
    let needed = rows * columns;
    for (query, weights) in look.queries.iter().enumerate() {
        if weights.len() != needed || needed == 0 {
            let (picture, actual) = (look.picture.clone(), weights.len());
            return Err(ReportError::Grid {
                picture,
                query,
                rows,
                columns,
                needed: needed.max(1),
                actual,
            });
        }
        for &weight in weights {
            let what = || format!("a weight of query {query} of the look at {}", look.picture);
            figure(
                weight.is_finite() && weight >= 0.0,
                what,
                f64::from(weight),
                "a number from 0 on",
            )?;
        }
    }
    Ok(())
}

fn figure(
    fits: bool,
    what: impl Fn() -> String,
    value: f64,
    expected: &'static str,
) -> Result<(), ReportError> {
    match fits {
        true => Ok(()),
        false => Err(ReportError::Figure {
            what: what(),
            value,
            expected,
        }),
    }
}
