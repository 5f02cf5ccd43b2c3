//! Captions and answers on held-out scenes, and how true they are.

use blip2::{Written, answer_settings, caption_settings, write_captions, write_captions_by_qformer};
use blip2_data::text::BertTokenizer;
use blip2_evaluation::text::{exact_match, most_frequent, token_f1};
use blip2_generation::GenerationConfig;
use blip2_llm_adapters::LoadedLanguageModel;
use blip2_qformer::{Bridge, RepresentationModel};
use blip2_report::GenerationRow;
use blip2_trainer::Prompts;
use burn::tensor::Tensor;

use crate::MiniError;
use crate::held_out::HeldOut;
use crate::scenes::Scene;

/// Pictures that are written about at once.
const BATCH: usize = 32;

/// Which words are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Caption,
    Answer,
}

impl Wanted {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caption => "caption",
            Self::Answer => "answer",
        }
    }

    /// How they are searched for: as the paper has it.
    fn settings(self) -> GenerationConfig {
        match self {
            Self::Caption => caption_settings(),
            Self::Answer => answer_settings(),
        }
    }

    /// The true words of a scene: its caption, or the answer to what is asked about it.
    pub(crate) fn truth(self, scene: &Scene) -> &str {
        match self {
            Self::Caption => &scene.caption,
            Self::Answer => asked(scene).1,
        }
    }
}

/// A scene's question and its answer: which one, the scene decides.
pub(crate) fn asked(scene: &Scene) -> (&str, &str) {
    let number = scene.caption.len() % scene.questions.len().max(1);
    scene
        .questions
        .get(number)
        .map_or(("", ""), |question| (&question.question, &question.answer))
}

/// What the language model writes of the pictures. With `shifted`, each picture is replaced by the next
/// one: what the words then still get right, they do not owe to the picture.
pub(crate) fn write_by_language_model(
    shown: &HeldOut,
    bridge: &Bridge,
    language_model: &LoadedLanguageModel,
    prompts: &Prompts<'_>,
    wanted: Wanted,
    shifted: bool,
) -> Result<Vec<String>, MiniError> {
    let count = shown.scenes.len();
    let config = GenerationConfig {
        end_tokens: language_model.tokenizer.ends(),
        ..wanted.settings()
    };
    let mut written = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let rows = start..(start + BATCH).min(count);
        let texts = shown.scenes[rows.clone()]
            .iter()
            .map(|scene| match wanted {
                Wanted::Caption => Ok(prompts.caption_ids()?),
                Wanted::Answer => Ok(prompts.question_ids(asked(scene).0)?),
            })
            .collect::<Result<Vec<_>, MiniError>>()?;
        let features = rows.map(|row| {
            let row = if shifted { (row + 1) % count } else { row };
            shown.features.clone().narrow(0, row, 1)
        });
        let features = Tensor::cat(features.collect(), 0);
        written.extend(
            write_captions(bridge, language_model, features, &texts, &config)?
                .into_iter()
                .map(trimmed),
        );
    }
    Ok(written)
}

/// What the Q-Former itself writes of the pictures after stage 1.
pub(crate) fn write_by_qformer(
    shown: &HeldOut,
    model: &RepresentationModel,
    tokenizer: &BertTokenizer,
) -> Result<Vec<String>, MiniError> {
    let count = shown.scenes.len();
    let config = GenerationConfig {
        end_tokens: vec![tokenizer.separator_id()],
        ..caption_settings()
    };
    let mut written = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let features = shown.features.clone().narrow(0, start, BATCH.min(count - start));
        written.extend(
            write_captions_by_qformer(model, tokenizer, features, &config)?
                .into_iter()
                .map(trimmed),
        );
    }
    Ok(written)
}

/// The same words for every picture: the most frequent of `known`.
pub(crate) fn always_the_same(known: &[String], count: usize) -> Vec<String> {
    vec![most_frequent(known).unwrap_or_default().to_owned(); count]
}

/// How true `written` is.
pub(crate) fn judge(shown: &HeldOut, wanted: Wanted, model: &str, written: &[String]) -> GenerationRow {
    let share = |score: &dyn Fn(&str, &str) -> f64| {
        let pairs = written.iter().zip(&shown.scenes);
        let sum: f64 = pairs.map(|(ours, scene)| score(ours, wanted.truth(scene))).sum();
        sum / written.len().max(1) as f64
    };
    GenerationRow {
        split: shown.name.clone(),
        task: wanted.name().to_owned(),
        model: model.to_owned(),
        exact: share(&|ours, truth| f64::from(u8::from(exact_match(ours, truth)))),
        f1: share(&token_f1),
        count: written.len(),
    }
}

fn trimmed(written: Written) -> String {
    written.text.trim().to_owned()
}
