//! Text about image features, written by the language model behind the bridge or by the Q-Former alone.

use blip2_data::text::BertTokenizer;
use blip2_generation::{Generated, GenerationConfig, TokenCallback, generate_by_streams};
use blip2_llm_adapters::LoadedLanguageModel;
use blip2_qformer::{Bridge, CaptionDecoder, RepresentationModel};
use burn::tensor::Tensor;
use serde::Serialize;

use crate::Blip2Error;

/// A text that a model wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Written {
    /// Without special tokens and surrounding white space.
    pub text: String,
    /// The new ids alone, without the prompt.
    pub ids: Vec<u32>,
    /// Sum of the log-probabilities of `ids`, divided by their number to the power of the length penalty.
    pub score: f64,
}

/// How LAVIS captions by default: 5 beams, at most 30 new tokens.
pub fn caption_settings() -> GenerationConfig {
    GenerationConfig {
        num_beams: 5,
        max_new_tokens: 30,
        min_new_tokens: 1,
        ..GenerationConfig::default()
    }
}

/// How the paper answers questions (section 4.1): 5 beams and a length penalty of -1, for short answers.
pub fn answer_settings() -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: 10,
        length_penalty: -1.0,
        ..caption_settings()
    }
}

/// Lets the language model continue one prompt (ids, perhaps none) for each image of `features`
/// `[batch, patches, encoder width]`.
///
/// Where `settings` names no end tokens, the tokenizer's own end a text.
///
/// # Errors
/// [`Blip2Error::Model`] where features, prompts and models do not fit each other, [`Blip2Error::Generation`] for settings
/// that contradict themselves.
pub fn write_captions(
    bridge: &Bridge,
    language_model: &LoadedLanguageModel,
    features: Tensor<3>,
    prompts: &[Vec<u32>],
    settings: &GenerationConfig,
) -> Result<Vec<Written>, Blip2Error> {
    let settings = ended_by(settings, language_model.tokenizer.ends());
    let history = prompts.iter().map(|prompt| language_model.model.history(prompt));
    write_behind(
        language_model,
        bridge.soft_prompt(features)?,
        prompts,
        Beginnings {
            history: &history.collect::<Vec<_>>(),
            streams: &numbers(prompts.len()),
        },
        &settings,
        None,
    )
}

/// What a text begins with, row by row.
pub(crate) struct Beginnings<'a> {
    /// What penalties count as written before.
    pub(crate) history: &'a [Vec<u32>],
    /// What decides the draws, beside the seed.
    pub(crate) streams: &'a [u64],
}

/// The number of each row as its stream.
fn numbers(rows: usize) -> Vec<u64> {
    (0..rows as u64).collect()
}

/// Lets the language model continue `prompts` behind `soft_prompt` `[batch, queries, hidden]`; `callback` hears row and token
/// of what is decided.
pub(crate) fn write_behind(
    language_model: &LoadedLanguageModel,
    soft_prompt: Tensor<3>,
    prompts: &[Vec<u32>],
    beginnings: Beginnings,
    settings: &GenerationConfig,
    callback: Option<TokenCallback>,
) -> Result<Vec<Written>, Blip2Error> {
    let mut text = language_model.model.start(soft_prompt, prompts)?;
    let Beginnings { history, streams } = beginnings;
    let generated = generate_by_streams(text.as_mut(), history, streams, settings, callback)?;
    generated
        .into_iter()
        .map(|text| Ok(written(language_model.tokenizer.decode(&text.ids)?, text)))
        .collect()
}

/// Lets the Q-Former write about each image of `features` `[batch, patches, encoder width]`, from `[DEC]` to `[SEP]`, as
/// stage 1 trained it.
///
/// # Errors
/// As for [`write_captions`].
pub fn write_captions_by_qformer(
    model: &RepresentationModel,
    tokenizer: &BertTokenizer,
    features: Tensor<3>,
    settings: &GenerationConfig,
) -> Result<Vec<Written>, Blip2Error> {
    let [batch, _, _] = features.dims();
    write_by_qformer(model, tokenizer, features, &numbers(batch), settings)
}

/// As [`write_captions_by_qformer`], where `streams` decide the draws of each row beside the seed.
pub(crate) fn write_by_qformer(
    model: &RepresentationModel,
    tokenizer: &BertTokenizer,
    features: Tensor<3>,
    streams: &[u64],
    settings: &GenerationConfig,
) -> Result<Vec<Written>, Blip2Error> {
    let [batch, _, _] = features.dims();
    let images = model.qformer.query_pass(&model.image_context(features)?, batch);
    let mut text = CaptionDecoder::start(model, &images, tokenizer.decode_id())?;
    let history = vec![vec![tokenizer.decode_id()]; batch];
    let settings = ended_by(settings, vec![tokenizer.separator_id()]);
    let generated = generate_by_streams(&mut text, &history, streams, &settings, None)?;
    generated
        .into_iter()
        .map(|text| Ok(written(tokenizer.decode(&text.ids)?, text)))
        .collect()
}

pub(crate) fn ended_by(settings: &GenerationConfig, ends: Vec<u32>) -> GenerationConfig {
    let mut settings = settings.clone();
    if settings.end_tokens.is_empty() {
        settings.end_tokens = ends;
    }
    settings
}

pub(crate) fn written(text: String, Generated { ids, score }: Generated) -> Written {
    Written {
        text: text.trim().to_owned(),
        ids,
        score,
    }
}
