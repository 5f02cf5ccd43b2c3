//! A page of pictures with what is said about them, for the eye: it opens from disk, alone.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use blip2_data::pixels::{RgbImage, resize};
use blip2_data::sets::{Dataset, Sample};
use image::ImageFormat;

use super::check::spaced;

/// Pictures of each data set.
const PICTURES: u64 = 60;
/// The longer side of a picture, in pixels.
const SIDE: u32 = 192;

const HEAD: &str = "<!doctype html><meta charset=\"utf-8\"><title>Data</title><style>\
body{font:14px/1.4 sans-serif;margin:2em}section{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:1em}\
figure{margin:0;overflow-wrap:anywhere}img{max-width:100%;display:block}figcaption small{color:#777}p{margin:.2em 0;white-space:pre-wrap}\
.wrong{color:#a00}</style>\n";

/// Writes to `file` some pictures of each of `sets`.
pub(super) fn write(file: &Path, sets: &[Box<dyn Dataset>]) -> Result<()> {
    let mut page = HEAD.to_owned();
    for set in sets {
        page += &format!(
            "<h1>{}</h1>\n<p>{} samples</p>\n<section>\n",
            escaped(set.name()),
            set.len()
        );
        for index in spaced(set.len(), PICTURES) {
            let sample = set.read(index);
            let sample = sample.and_then(|sample| Ok((sample.picture.decode(&sample.key)?, sample)));
            page += &match sample {
                Ok((picture, sample)) => figure(&thumbnail(&picture)?, &sample),
                Err(error) => {
                    let problem = escaped(&error.to_string());
                    format!("<figure><figcaption class=\"wrong\">{problem}</figcaption></figure>\n")
                }
            };
        }
        page += "</section>\n";
    }
    fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))
}

/// `picture` as a small PNG, in the form of an address.
fn thumbnail(picture: &RgbImage) -> Result<String> {
    let (width, height) = picture.dimensions();
    let scale = f64::from(SIDE) / f64::from(width.max(height).max(SIDE));
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let mut bytes = Cursor::new(Vec::new());
    resize(picture, side(width), side(height))?.write_to(&mut bytes, ImageFormat::Png)?;
    let encoded = BASE64_STANDARD.encode(bytes.into_inner());
    Ok(format!("data:image/png;base64,{encoded}"))
}

fn figure(picture: &str, sample: &Sample) -> String {
    let mut lines: Vec<String> = sample
        .texts
        .iter()
        .map(|text| format!("<p>{}</p>", escaped(text)))
        .collect();
    if let Some(question) = &sample.question {
        let answers = question
            .answers
            .iter()
            .map(|answer| format!("{} ({})", answer.text, answer.count));
        let answers: Vec<String> = answers.collect();
        lines.push(format!(
            "<p><b>{}</b> {}</p>",
            escaped(&question.text),
            escaped(&answers.join(", "))
        ));
    }
    format!(
        "<figure><img src=\"{picture}\" alt=\"\"><figcaption>{}<small>{}</small></figcaption></figure>\n",
        lines.concat(),
        escaped(&sample.key)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
