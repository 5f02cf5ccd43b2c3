//! A small report in which every section has something.

use std::fs;
use std::path::Path;

use blip2_report::{GenerationRow, Look, LossCurve, Report, RetrievalRow, Sample};
use serde_json::json;
use tempfile::TempDir;

/// A run folder with the pictures that [`report`] names.
pub(crate) fn run() -> TempDir {
    let run = tempfile::tempdir().unwrap();
    fs::create_dir(run.path().join("pictures")).unwrap();
    for (name, colour) in [("fox.png", [200, 80, 20]), ("car.png", [20, 80, 200])] {
        picture(&run.path().join("pictures").join(name), colour);
    }
    run
}

fn picture(path: &Path, colour: [u8; 3]) {
    image::RgbImage::from_pixel(8, 8, image::Rgb(colour))
        .save(path)
        .unwrap();
}

/// Something in every section.
pub(crate) fn report() -> Report {
    Report {
        title: "A run".into(),
        summary: vec![
            ("steps".into(), json!(900)),
            ("a recall".into(), json!(0.4375)),
            ("encoder".into(), json!("small")),
        ],
        recipe: "seed = 1\n[stage]\nbatch = 32\n".into(),
        machine: "2 cores, 14 minutes".into(),
        kernels: "avx2".into(),
        seconds: vec![("stage 1".into(), 512.5)],
        losses: vec![
            curve("stage 1", "itc", 3.5),
            curve("stage 1", "itm", 0.75),
            curve("stage 2", "language", 4.0),
        ],
        retrieval: vec![
            retrieval("new style", "by contrast", [0.25, 0.5, 0.75]),
            retrieval("new style", "re-ranked", [0.5, 0.625, 0.75]),
        ],
        generation: vec![
            generation("with stage 1", 0.5),
            generation("most frequent", 0.125),
        ],
        ablation: vec![
            curve("language loss", "with stage 1", 3.0),
            curve("language loss", "without stage 1", 4.0),
        ],
        samples: vec![Sample {
            split: "unseen pairs".into(),
            picture: "fox.png".into(),
            truth: "a fox to the left of a pizza".into(),
            written_by_qformer: Some("a fox".into()),
            caption: "a fox above a pizza".into(),
            caption_is: None,
            caption_of_another: Some("two buses".into()),
            question: "what is left of the pizza?".into(),
            answer: "a fox".into(),
            predicted: "the fox".into(),
        }],
        looks: vec![Look {
            picture: "car.png".into(),
            caption: "a car".into(),
            grid: [2, 3],
            queries: vec![vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.0], vec![0.5; 6]],
        }],
    }
}

fn curve(phase: &str, name: &str, first: f64) -> LossCurve {
    LossCurve {
        phase: phase.into(),
        name: name.into(),
        reference: Some(first),
        reference_label: "knows nothing".into(),
        // Sixty-fourths: numbers that JSON and its reader keep to the last bit.
        points: (0..50).map(|step| (step, first - step as f64 / 64.0)).collect(),
    }
}

fn retrieval(split: &str, model: &str, recall: [f64; 3]) -> RetrievalRow {
    RetrievalRow {
        split: split.into(),
        model: model.into(),
        image_to_text: recall,
        text_to_image: recall,
        relations: Some(0.5),
        images: 100,
        texts: 300,
    }
}

fn generation(model: &str, exact: f64) -> GenerationRow {
    GenerationRow {
        split: "unseen pairs".into(),
        task: "caption".into(),
        model: model.into(),
        exact,
        f1: 0.75,
        count: 64,
    }
}
