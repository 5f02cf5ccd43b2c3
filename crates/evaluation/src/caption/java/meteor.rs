//! METEOR 1.5 (Denkowski and Lavie 2014), spoken to line by line as `pycocoevalcap/meteor/meteor.py` does.

use std::path::Path;

use super::running::Running;
use super::{Jar, JavaError};
use crate::caption::{CaptionScore, CaptionedImage, check};

/// Parts the fields of a line.
const BAR: &str = "|||";

/// METEOR of tokenised captions, 0 to 1, as the program `meteor` computes it; over all images from their added-up
/// matches.
///
/// # Errors
/// No images, an image without a reference; no Java, no such program, or one that does not answer with scores.
pub fn meteor(images: &[CaptionedImage], meteor: &Jar) -> Result<CaptionScore, JavaError> {
    check(images)?;
    let arguments = ["-", "-", "-stdio", "-l", "en", "-norm"].map(Path::new);
    let mut running = Running::start(meteor, "-Xmx2G", &arguments)?;
    let mut evaluate = "EVAL".to_owned();
    for image in images {
        let mut line = "SCORE".to_owned();
        for caption in image.references.iter().chain([&image.candidate]) {
            line += &format!(" {BAR} {}", one_field(caption));
        }
        running.ask(&line)?;
        evaluate += &format!(" {BAR} {}", running.answer()?);
    }
    running.ask(&evaluate)?;
    let mut score = || -> Result<f64, JavaError> {
        let answer = running.answer()?;
        answer
            .parse()
            .map_err(|_| running.failed(&format!("it answered `{answer}` where a score was due")))
    };
    let per_image = images.iter().map(|_| score()).collect::<Result<_, _>>()?;
    Ok(CaptionScore {
        corpus: score()?,
        per_image,
    })
}

/// A caption that neither ends its line nor its field.
fn one_field(caption: &str) -> String {
    caption
        .replace(['\n', '\r'], " ")
        .replace(BAR, "")
        .replace("  ", " ")
}
