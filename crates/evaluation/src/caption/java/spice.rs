//! SPICE 1.0 (Anderson et al. 2016), given and giving files of JSON as `pycocoevalcap/spice/spice.py` does.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::running::Running;
use super::{Jar, JavaError};
use crate::caption::{CaptionScore, CaptionedImage, check, mean};

/// The parser and its models.
const PARSER: [&str; 2] = ["stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"];

#[derive(Serialize)]
struct Asked<'a> {
    image_id: usize,
    test: &'a str,
    refs: &'a [String],
}

#[derive(Deserialize)]
struct Answered {
    image_id: usize,
    scores: Scores,
}

#[derive(Deserialize)]
struct Scores {
    #[serde(rename = "All")]
    all: Tuples,
}

#[derive(Deserialize)]
struct Tuples {
    f: Option<f64>,
}

/// SPICE of captions, 0 to 1: the F-score over all tuples, as the program `spice` computes it; over all images the mean. An
/// image of which SPICE says nothing scores NaN, and so does then the mean.
///
/// The program needs its parser, Stanford CoreNLP 3.6.0 and its models, in the folder `lib` beside it, and up to 8 GB of memory.
///
/// # Errors
/// No images, an image without a reference; no Java, no such program or parser, or one that fails; no room for temporary
/// files.
pub fn spice(images: &[CaptionedImage], spice: &Jar) -> Result<CaptionScore, JavaError> {
    check(images)?;
    if spice.path.is_file() {
        let mut parser = PARSER
            .map(|jar| spice.path.with_file_name("lib").join(jar))
            .into_iter();
        if let Some(path) = parser.find(|path| !path.is_file()) {
            return Err(JavaError::NoParser { path });
        }
    }
    let exchange = |source: io::Error| JavaError::Exchange {
        path: spice.path.clone(),
        source,
    };
    let folder = tempfile::tempdir().map_err(exchange)?;
    let (asked, answered) = (
        folder.path().join("captions.json"),
        folder.path().join("scores.json"),
    );
    let captions: Vec<Asked> = images
        .iter()
        .enumerate()
        .map(|(image_id, image)| Asked {
            image_id,
            test: &image.candidate,
            refs: &image.references,
        })
        .collect();
    let text = serde_json::to_vec(&captions).map_err(|error| exchange(error.into()))?;
    std::fs::write(&asked, text).map_err(exchange)?;

    let option = Path::new;
    let arguments = [
        &*asked,
        option("-out"),
        &*answered,
        option("-subset"),
        option("-silent"),
    ];
    let mut running = Running::start(spice, "-Xmx8G", &arguments)?;
    running.end()?;

    let text = std::fs::read(&answered).map_err(exchange)?;
    let answers: Vec<Answered> = serde_json::from_slice(&text).map_err(|error| exchange(error.into()))?;
    let mut per_image = vec![None; images.len()];
    for Answered { image_id, scores } in answers {
        if let Some(score) = per_image.get_mut(image_id) {
            *score = Some(scores.all.f.unwrap_or(f64::NAN));
        }
    }
    let per_image: Vec<f64> = per_image
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| running.failed("it left out images"))?;
    Ok(CaptionScore {
        corpus: mean(&per_image),
        per_image,
    })
}
