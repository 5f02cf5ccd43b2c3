//! All scores of captions that can be measured here, under their official names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use blip2_evaluation::caption::java::{Jar, meteor, spice};
use blip2_evaluation::caption::{CaptionScore, CaptionedImage, bleu, cider, rouge_l, tokenised};
use clap::Args;

/// The programs of those who made METEOR and SPICE.
#[derive(Args)]
pub(super) struct CaptionScorers {
    /// Measure METEOR, too, by this meteor-1.5.jar [default: $BLIP2_METEOR_JAR]
    #[arg(long, value_name = "JAR")]
    meteor: Option<PathBuf>,
    /// Measure SPICE, too, by this spice-1.0.jar [default: $BLIP2_SPICE_JAR]
    #[arg(long, value_name = "JAR")]
    spice: Option<PathBuf>,
}

/// What was measured, in the order in which papers give it.
pub(super) struct CaptionScores {
    pub(super) scores: Vec<(&'static str, CaptionScore)>,
    /// What was not measured, and why.
    pub(super) not_measured: BTreeMap<&'static str, String>,
}

/// A score that a program computes.
type Scorer<'a> = dyn Fn(&Jar) -> Result<CaptionScore> + 'a;

impl CaptionScorers {
    /// Whether one is named on the command line.
    pub(super) fn are_named(&self) -> bool {
        self.meteor.is_some() || self.spice.is_some()
    }

    /// All scores of `images`, as they were written.
    pub(super) fn score(&self, images: &[CaptionedImage]) -> Result<CaptionScores> {
        let images = tokenised(images);
        let [first, second, third, fourth] = bleu(&images)?;
        let mut scores = vec![
            ("Bleu_1", first),
            ("Bleu_2", second),
            ("Bleu_3", third),
            ("Bleu_4", fourth),
        ];
        let mut not_measured = BTreeMap::new();
        let mut by_program =
            |name, option: &Option<PathBuf>, variable: &str, flag: &str, score: &Scorer| match option
                .clone()
                .or_else(|| std::env::var_os(variable).map(PathBuf::from))
            {
                Some(jar) => Ok(Some((
                    name,
                    score(&Jar::new(jar)).with_context(|| format!("cannot measure {name}"))?,
                ))),
                None => {
                    not_measured.insert(
                        name,
                        format!("give the path of its program with {flag}, or in ${variable}"),
                    );
                    anyhow::Ok(None)
                }
            };
        let by_meteor = |jar: &Jar| Ok(meteor(&images, jar)?);
        let by_spice = |jar: &Jar| Ok(spice(&images, jar)?);
        scores.extend(by_program(
            "METEOR",
            &self.meteor,
            "BLIP2_METEOR_JAR",
            "--meteor",
            &by_meteor,
        )?);
        scores.push(("ROUGE_L", rouge_l(&images)?));
        scores.push(("CIDEr", cider(&images)?));
        scores.extend(by_program(
            "SPICE",
            &self.spice,
            "BLIP2_SPICE_JAR",
            "--spice",
            &by_spice,
        )?);
        Ok(CaptionScores { scores, not_measured })
    }
}
