//! What a language model writes about held-out pictures while the bridge in front of it trains: captions and answers.

use blip2::{GenerationConfig, LoadedLanguageModel, write_captions};
use blip2_evaluation::caption::{CaptionedImage, cider, tokenised};
use blip2_evaluation::text::{exact_match, token_f1};
use blip2_qformer::Bridge;

use crate::{Evaluator, HeldOut, Sighted, TrainError};

/// Texts that are written together.
const ROWS_AT_ONCE: usize = 16;

/// How near what is written comes to the text of each row: `exact` and `f1` of words from 0 to 1, `CIDEr` from 0 to 10.
pub struct HeldOutTexts<'a> {
    /// Pictures with a caption, or with a question in the prompt and its answer.
    pub samples: HeldOut<'a>,
    /// Writes.
    pub language_model: &'a LoadedLanguageModel,
    /// In front of a text whose row has no prompt of its own.
    pub prompt: &'a str,
    /// How it writes ([`blip2::caption_settings`], [`blip2::answer_settings`]).
    pub settings: GenerationConfig,
}

impl<M: Sighted<Model = Bridge>> Evaluator<M> for HeldOutTexts<'_> {
    fn name(&self) -> &str {
        &self.samples.name
    }

    fn every(&self) -> u64 {
        self.samples.every
    }

    fn evaluate(&mut self, model: &M, _step: u64) -> Result<Vec<(String, f64)>, TrainError> {
        self.samples.check()?;
        let module = model.valid();
        if module.adapters().is_some() {
            return Err(TrainError::other(format!(
                "`{}` would write without the language model's updates: evaluate the run at its end",
                self.samples.name
            )));
        }
        let model = module.model();
        let mut images = Vec::with_capacity(self.samples.rows.len());
        for rows in self.samples.rows.chunks(ROWS_AT_ONCE) {
            let batch = self.samples.batch(rows)?;
            let features = module.features(&batch, &batch.all())?;
            let prompts = rows.iter().map(|row| {
                let prompt = row.prompt.as_deref().unwrap_or(self.prompt);
                self.language_model.tokenizer.encode_prompt(prompt)
            });
            let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
            let written = write_captions(model, self.language_model, features, &prompts, &self.settings)?;
            let written = written.into_iter().step_by(self.settings.num_return_sequences);
            images.extend(rows.iter().zip(written).map(|(row, written)| CaptionedImage {
                candidate: written.text,
                references: vec![row.text.clone()],
            }));
        }
        let mean = |figure: &dyn Fn(&CaptionedImage) -> f64| {
            images.iter().map(figure).sum::<f64>() / images.len() as f64
        };
        let is_exact = |image: &CaptionedImage| match exact_match(&image.candidate, &image.references[0]) {
            true => 1.0,
            false => 0.0,
        };
        let consensus = cider(&tokenised(&images)).map_err(TrainError::other)?;
        Ok(vec![
            ("exact".to_owned(), mean(&is_exact)),
            (
                "f1".to_owned(),
                mean(&|image| token_f1(&image.candidate, &image.references[0])),
            ),
            ("CIDEr".to_owned(), consensus.corpus),
        ])
    }
}
