//! The page of an evaluation: figures, the worst and the best cases beside their pictures, and where the queries look.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blip2::{Blip2Error, Looks};
use blip2_data::pixels::{RgbImage, resize};
use blip2_report::{Look, Report, Sample, Value};

use super::measured::{Case, Measured};
use super::units::Unit;
use super::work::Work;
use crate::commands::data_set::DataSet;
use crate::model::named;

/// Cases of each kind.
const CASES: usize = 12;
/// Of these, how many are shown with where the queries look.
const LOOKS: usize = 2;
/// The longer side of a picture, in pixels.
const SIDE: u32 = 256;

/// What stands at the head of the page, and what the model's texts are.
pub(super) struct Heading<'a> {
    pub(super) title: String,
    pub(super) about: String,
    pub(super) writer: Option<&'a str>,
    /// Where the queries look in a picture of a unit.
    pub(super) look: &'a dyn Fn(&RgbImage, &Unit) -> Result<Looks, Blip2Error>,
}

/// Writes `report.html`, `report.json` and the pictures that they show into the folder of `work`.
pub(super) fn write(work: &Work, measured: &Measured, heading: Heading) -> Result<()> {
    let pictures = work.folder.join("pictures");
    fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", named(&pictures)))?;
    let mut report = Report {
        title: heading.title,
        machine: heading.about,
        summary: measured
            .figures
            .iter()
            .filter(|(_, figure)| figure.is_finite())
            .map(|(name, figure)| (name.clone(), Value::from(*figure)))
            .collect(),
        ..Report::default()
    };
    let (worst, best) = measured.extremes(CASES);
    for (split, cases) in [("worst", worst), ("best", best)] {
        for (place, case) in cases.into_iter().enumerate() {
            let unit = &work.units[case.unit];
            let picture = work.data.picture(&DataSet::place(unit.sample), work.reading)?;
            let name = format!("{}.png", case.unit);
            save(&thumbnail(&picture)?, &pictures.join(&name))?;
            report
                .samples
                .push(sample(work, case, (split, &name), heading.writer));
            if place < LOOKS {
                report
                    .looks
                    .push(look(work, case, &picture, &pictures, heading.look)?);
            }
        }
    }
    report.write(work.folder)?;
    Ok(())
}

fn sample(work: &Work, case: &Case, (split, picture): (&str, &str), writer: Option<&str>) -> Sample {
    let about = Sample {
        split: split.to_owned(),
        picture: picture.to_owned(),
        ..Sample::default()
    };
    match &work.units[case.unit].question {
        Some(question) => Sample {
            question: question.text.clone(),
            answer: case.truth.clone(),
            predicted: case.written.clone(),
            ..about
        },
        None => Sample {
            truth: case.truth.clone(),
            caption: case.written.clone(),
            caption_is: writer.map(str::to_owned),
            ..about
        },
    }
}

/// Where the queries look in `picture`, which is shown as the encoder sees it: a square.
fn look(
    work: &Work,
    case: &Case,
    picture: &RgbImage,
    folder: &Path,
    look: &dyn Fn(&RgbImage, &Unit) -> Result<Looks, Blip2Error>,
) -> Result<Look> {
    let looks = look(picture, &work.units[case.unit])?;
    let name = format!("{}-seen.png", case.unit);
    save(&resize(picture, SIDE, SIDE)?, &folder.join(&name))?;
    Ok(Look {
        picture: name,
        caption: match &work.units[case.unit].question {
            Some(question) => format!("{} {}", question.text, case.written),
            None => case.truth.clone(),
        },
        grid: looks.grid,
        queries: looks
            .layers
            .into_iter()
            .next_back()
            .map_or(Vec::new(), |last| last.queries),
    })
}

fn thumbnail(picture: &RgbImage) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    let scale = f64::from(SIDE) / f64::from(width.max(height).max(SIDE));
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    Ok(resize(picture, side(width), side(height))?)
}

fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    picture
        .save(path)
        .with_context(|| format!("cannot write {}", named(path)))
}
