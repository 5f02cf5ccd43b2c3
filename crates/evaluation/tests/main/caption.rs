//! Caption scores against those of pycocoevalcap, and against what must hold for any captions.

use std::collections::BTreeMap;

use blip2_evaluation::EvaluationError;
use blip2_evaluation::caption::{CaptionScore, CaptionedImage, bleu, cider, rouge_l, tokenised};
use blip2_golden::{Check, tolerance};
use serde::Deserialize;

use crate::golden::{Ordered, scores};

#[derive(Deserialize)]
pub(crate) struct Captions {
    references: Ordered<Vec<String>>,
    candidates: Ordered<Vec<String>>,
    tokenized_references: Ordered<Vec<String>>,
    tokenized_candidates: Ordered<Vec<String>>,
    pub(crate) scores: BTreeMap<String, f64>,
    pub(crate) per_image: BTreeMap<String, Vec<f64>>,
}

impl Captions {
    pub(crate) fn raw(&self) -> Vec<CaptionedImage> {
        images(&self.candidates, &self.references)
    }

    pub(crate) fn tokenised(&self) -> Vec<CaptionedImage> {
        images(&self.tokenized_candidates, &self.tokenized_references)
    }

    pub(crate) fn check(&self, check: &mut Check, name: &str, score: &CaptionScore) {
        check.absolute(name, &[score.corpus], &[self.scores[name]], tolerance::SCORE);
        if let Some(expected) = self.per_image.get(name) {
            let what = format!("{name}-per-image");
            check.absolute(&what, &score.per_image, expected, tolerance::SCORE);
        }
    }
}

fn images(candidates: &Ordered<Vec<String>>, references: &Ordered<Vec<String>>) -> Vec<CaptionedImage> {
    assert_eq!(candidates.0.len(), references.0.len());
    let both = candidates.0.iter().zip(&references.0);
    both.map(|((image, candidate), (other, references))| {
        assert_eq!(image, other);
        assert_eq!(candidate.len(), 1);
        one(&candidate[0], references)
    })
    .collect()
}

pub(crate) fn one<Text: AsRef<str>>(candidate: &str, references: &[Text]) -> CaptionedImage {
    CaptionedImage {
        candidate: candidate.to_owned(),
        references: references.iter().map(|text| text.as_ref().to_owned()).collect(),
    }
}

#[test]
fn golden_scores_are_those_of_the_original() {
    const FILE: &str = "metrics/captions.json";
    let Some(golden) = scores::<Captions>(FILE) else {
        return;
    };
    let (images, mut check) = (tokenised(&golden.raw()), Check::new(FILE));
    check.identical("tokens", &images, &golden.tokenised());
    for (order, score) in bleu(&images).unwrap().iter().enumerate() {
        golden.check(&mut check, &format!("Bleu_{}", order + 1), score);
    }
    golden.check(&mut check, "ROUGE_L", &rouge_l(&images).unwrap());
    golden.check(&mut check, "CIDEr", &cider(&images).unwrap());
}

#[test]
fn a_caption_equal_to_its_reference_is_perfect_and_a_strange_one_is_worthless() {
    let images = [
        one("a red fox runs over there", &["a red fox runs over there"]),
        one("two blue cars", &["seven green apples lie on some grass"]),
    ];
    for score in bleu(&images).unwrap() {
        assert!((score.per_image[0] - 1.0).abs() < 1e-6 && score.per_image[1] < 1e-3);
    }
    assert_eq!(rouge_l(&images).unwrap().per_image, [1.0, 0.0]);
    let cider = cider(&images).unwrap();
    assert!((cider.per_image[0] - 10.0).abs() < 1e-9 && cider.per_image[1] == 0.0);
}

#[test]
fn bleu_takes_the_closest_reference_and_the_shorter_of_two_as_close() {
    let short = one("a b c", &["a b", "a b c d"]);
    // Two words are nearest to three and fewer than four: no penalty, and all three words are found.
    assert!((bleu(&[short]).unwrap()[0].corpus - 1.0).abs() < 1e-6);
    let long = one("a b", &["a b c d"]);
    assert!((bleu(&[long]).unwrap()[0].corpus - (-1.0_f64).exp()).abs() < 1e-6);
}

#[test]
fn an_empty_caption_scores_nothing_and_breaks_nothing() {
    let images = [one("", &["a fox"]), one("a fox", &["a fox", ""])];
    assert!(bleu(&images).unwrap()[3].per_image[0] < 1e-3);
    assert_eq!(rouge_l(&images).unwrap().per_image[0], 0.0);
    assert_eq!(cider(&images).unwrap().per_image[0], 0.0);
}

#[test]
fn bad_input_is_named() {
    let unjudged = [one("a", &["a"]), one::<&str>("a", &[])];
    for error in [
        bleu(&unjudged).unwrap_err(),
        rouge_l(&unjudged).unwrap_err(),
        cider(&unjudged).unwrap_err(),
    ] {
        assert_eq!(error, EvaluationError::NoReference { image: 1 });
    }
    assert_eq!(bleu(&[]).unwrap_err(), EvaluationError::Empty { what: "images" });
}
