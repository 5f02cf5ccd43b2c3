//! Batching with padding: texts of different lengths behind soft prompts, as tensors.

use blip2_core::layers::Embedding;
use blip2_core::{ModelError, Segment};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// `values` as a tensor `[values]`.
pub(crate) fn list(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// The table of a model's words, and what it multiplies them with before it reads them: the soft prompt is taken as it is.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) table: &'a Embedding,
    pub(crate) scale: f64,
}

impl<'a> From<&'a Embedding> for Words<'a> {
    fn from(table: &'a Embedding) -> Self {
        Self { table, scale: 1.0 }
    }
}

/// Embeddings `[rows, tokens, width]` of `ids`, row after row.
pub(crate) fn embed(words: Words<'_>, ids: &[u32], rows: usize) -> Tensor<3> {
    let values: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    let device = words.table.weight.lazy_device();
    let ids = list(values, &device).reshape([rows, ids.len() / rows]);
    let embedded = words.table.forward(ids);
    match words.scale == 1.0 {
        true => embedded,
        false => embedded * words.scale,
    }
}

/// [`blip2_core::LanguageModel::word_embeddings`].
pub(crate) fn embed_words(words: Words<'_>, ids: &[u32]) -> Result<Tensor<2>, ModelError> {
    words.table.check(ids)?;
    let [_, width] = words.table.weight.lazy_shape().dims();
    Ok(embed(words, ids, 1).reshape([ids.len(), width]))
}

/// `soft_prompt` `[batch, queries, width]` followed by the embeddings of `texts`, which are padded on the right to the
/// longest: `[batch, queries + tokens, width]`.
///
/// # Errors
/// [`ModelError`] where sizes disagree, an id lies outside of the table, or there is nothing at all.
pub(crate) fn embed_behind(
    soft_prompt: Tensor<3>,
    texts: &[&[u32]],
    words: Words<'_>,
) -> Result<Tensor<3>, ModelError> {
    let [batch, queries, width] = soft_prompt.dims();
    let [_, wanted] = words.table.weight.lazy_shape().dims();
    if batch != texts.len() || batch == 0 || width != wanted {
        return Err(ModelError::Shape {
            tensor: "soft_prompt",
            expected: format!("[{}, queries, {wanted}]", texts.len()),
            actual: soft_prompt.dims().to_vec(),
            hint: "give one row for each text, as wide as the language model's embeddings",
        });
    }
    texts.iter().try_for_each(|text| words.table.check(*text))?;
    let longest = longest(texts);
    let mut parts = Vec::new();
    if queries > 0 {
        parts.push(soft_prompt.cast(words.table.weight.dtype()));
    }
    if longest > 0 {
        // Nothing real looks at the padding, so that any id will do.
        let padded: Vec<u32> = texts
            .iter()
            .flat_map(|text| text.iter().copied().chain(std::iter::repeat(0)).take(longest))
            .collect();
        parts.push(embed(words, &padded, batch));
    }
    if parts.is_empty() {
        return Err(ModelError::Invalid(
            "a soft prompt without queries and empty texts leave nothing to read".into(),
        ));
    }
    Ok(Tensor::cat(parts, 1))
}

/// `prompt` as one row of embeddings, `[1, places, width]`.
///
/// # Errors
/// As for [`embed_behind`].
pub(crate) fn embed_prompt(prompt: &[Segment], words: Words<'_>) -> Result<Tensor<3>, ModelError> {
    let device = words.table.weight.lazy_device();
    let [_, width] = words.table.weight.lazy_shape().dims();
    let mut parts = Vec::new();
    for segment in prompt.iter().filter(|segment| segment.places() > 0) {
        let (soft, text) = match segment {
            Segment::Ids(ids) => (Tensor::zeros([1, 0, width], &device), &ids[..]),
            Segment::Soft(states) => (states.clone().unsqueeze(), &[][..]),
        };
        parts.push(embed_behind(soft, &[text], words)?);
    }
    if parts.is_empty() {
        return Err(ModelError::Invalid(
            "an empty prompt leaves nothing to continue: give a soft prompt or a first token".into(),
        ));
    }
    Ok(Tensor::cat(parts, 1))
}

/// Refuses more `tokens` than `model` has positions for.
pub(crate) fn check_context(model: &'static str, tokens: usize, limit: usize) -> Result<(), ModelError> {
    if tokens > limit {
        return Err(ModelError::Context { model, tokens, limit });
    }
    Ok(())
}

/// Places that `prompt` takes.
pub(crate) fn places(prompt: &[Segment]) -> usize {
    prompt.iter().map(Segment::places).sum()
}

/// Tokens of the longest of `texts`.
pub(crate) fn longest(texts: &[&[u32]]) -> usize {
    texts.iter().map(|text| text.len()).max().unwrap_or(0)
}

/// `[rows, 1, 1, places]`, `-inf` behind each row's `real` tokens; `None` where nothing is padding.
pub(crate) fn hide_padding(real: &[usize], places: usize, device: &Device) -> Option<Tensor<4>> {
    if real.iter().all(|count| *count == places) {
        return None;
    }
    let mut values = vec![0.0f32; real.len() * places];
    for (row, count) in real.iter().enumerate() {
        values[row * places + count..(row + 1) * places].fill(f32::NEG_INFINITY);
    }
    let data = TensorData::new(values, [real.len(), 1, 1, places]);
    Some(Tensor::from_data(data, device))
}

/// `[1, 1, tokens, past + tokens]`, `-inf` where a token lies `window` or more before the one that looks: causality hides the
/// rest.
pub(crate) fn hide_far(past: usize, tokens: usize, window: usize, device: &Device) -> Tensor<4> {
    let places = past + tokens;
    let mut values = vec![0.0f32; tokens * places];
    for (place, row) in (past..).zip(values.chunks_exact_mut(places)) {
        row[..(place + 1).saturating_sub(window)].fill(f32::NEG_INFINITY);
    }
    Tensor::from_data(TensorData::new(values, [1, 1, tokens, places]), device)
}

/// # Errors
/// [`ModelError`] where `rows` texts cannot be continued like that.
pub(crate) fn check_continuation(
    rows: usize,
    parents: &[usize],
    tokens: &[u32],
    embedding: &Embedding,
) -> Result<(), ModelError> {
    if parents.len() != tokens.len() {
        return Err(ModelError::Invalid(format!(
            "{} parents and {} tokens were given to continue texts: one of each is needed for every new row",
            parents.len(),
            tokens.len()
        )));
    }
    if let Some(parent) = parents.iter().find(|parent| **parent >= rows) {
        return Err(ModelError::Invalid(format!(
            "row {parent} cannot be continued: there are {rows} rows"
        )));
    }
    embedding.check(tokens)
}

/// The error of a batch in which no example has a target.
pub(crate) fn no_target() -> ModelError {
    ModelError::Invalid("no example of the batch has a target token to predict".into())
}

/// `[batch, tokens, heads * head_width]` to `[batch, tokens, heads, head_width]`.
pub(crate) fn split_heads(x: Tensor<3>, head_width: usize) -> Tensor<4> {
    let [batch, tokens, width] = x.dims();
    x.reshape([batch, tokens, width / head_width, head_width])
}

/// `[batch, heads, tokens, head width]` to `[batch, tokens, heads * head width]`.
pub(crate) fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, head_width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * head_width])
}
