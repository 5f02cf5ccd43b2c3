//! The figures and ranks that LAVIS's own task reports of score matrices (`retrieval`).

use blip2_evaluation::retrieval::{Captions, ranks};
use blip2_golden::{Check, TensorFile, each, find};
use serde::Deserialize;
use serde_json::Value;

use crate::golden::scores;

/// Figures are counts over counts: what is left is the order in which they are added.
const FIGURE: f64 = 1e-9;

#[derive(Deserialize)]
struct Recorded {
    metric_names: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    images: usize,
    img2txt: Vec<Vec<usize>>,
    txt2img: Vec<usize>,
    metrics: Value,
    #[serde(default)]
    metrics_by_tie_rule: Value,
    ties_decide: bool,
    /// -1 where there is no right answer.
    image_ranks: Vec<i64>,
    text_ranks: Vec<i64>,
}

#[test]
fn figures_and_ranks_are_those_of_the_original() {
    if find("retrieval").is_none() {
        return;
    }
    let recorded: Recorded = scores("retrieval/cases.json").expect("cases beside their matrices");
    let matrices = TensorFile::open("retrieval/cases.safetensors");
    each(&recorded.cases, |case| {
        let mut check = Check::new("retrieval");
        let what = |what: &str| format!("{what}/{}", case.name);
        let matrix = |direction: &str| -> Vec<Vec<f32>> {
            let matrix = matrices.array(&format!("{}.{direction}", case.name));
            let row = |row: &[f64]| row.iter().map(|value| *value as f32).collect();
            matrix.values.chunks(matrix.shape[1]).map(row).collect()
        };
        let (to_text, to_image) = (matrix("score_i2t"), matrix("score_t2i"));
        let captions = Captions::new(case.images, case.txt2img.clone()).expect("texts of the gallery");
        check.identical(&what("captions"), captions.texts_of(), &case.img2txt);

        // Where ties decide, LAVIS's own figures are those of its sort, which processors do differently; ours count against.
        let expected = match case.ties_decide {
            true => &case.metrics_by_tie_rule["worst"],
            false => &case.metrics,
        };
        let figures = captions.both_ways(&to_text, &to_image).expect("figures").named();
        let names = figures.map(|(name, _)| name.to_owned());
        check.identical(&what("figure names"), &names, &recorded.metric_names);
        for (name, figure) in figures {
            let expected = expected[name].as_f64().expect("a figure");
            check.absolute(&what(name), &[figure], &[expected], FIGURE);
        }
        for (direction, scores, positives, expected) in [
            ("image_ranks", &to_text, captions.texts_of(), &case.image_ranks),
            ("text_ranks", &to_image, &captions.images_of(), &case.text_ranks),
        ] {
            let (worst, best) = between(scores, positives);
            let clamped: Vec<i64> = expected
                .iter()
                .zip(best.iter().zip(&worst))
                .map(|(rank, (best, worst))| (*rank).clamp(*best, *worst))
                .collect();
            check.identical(&what(direction), &clamped, expected);
        }
    });
}

/// The ranks of each query where ties count against it, and where they count for it.
fn between(scores: &[Vec<f32>], positives: &[Vec<usize>]) -> (Vec<i64>, Vec<i64>) {
    let number = |rank: Option<usize>| rank.map_or(-1, |rank| rank as i64);
    let worst = ranks(scores, positives).expect("ranks").into_iter().map(number);
    // Just above all that scored the same.
    let raised: Vec<Vec<f32>> = scores
        .iter()
        .zip(positives)
        .map(|(row, positives)| {
            let mut row = row.clone();
            positives
                .iter()
                .for_each(|item| row[*item] = row[*item].next_up());
            row
        })
        .collect();
    let best = ranks(&raised, positives).expect("ranks").into_iter().map(number);
    (worst.collect(), best.collect())
}
