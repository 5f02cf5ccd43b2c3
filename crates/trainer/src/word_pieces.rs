//! Texts as the Q-Former reads them.

use blip2_data::text::{BertTokenizer, Padding};

use crate::TrainError;

/// Ids of each text, cleaned as LAVIS's `BlipCaptionProcessor` does, cut to `max_tokens` with `[CLS]` and `[SEP]`, without
/// padding.
///
/// # Errors
/// [`TrainError::Text`] where the tokenizer refuses.
pub fn tokenise<'a>(
    tokenizer: &BertTokenizer,
    texts: impl Iterator<Item = &'a str>,
    max_tokens: usize,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let texts: Vec<String> = texts.map(|text| blip2_data::text::caption(text, "")).collect();
    let batch = tokenizer.encode(&texts, max_tokens, Padding::Longest)?;
    let rows = batch.ids.into_iter().zip(batch.mask);
    Ok(rows
        .map(|(ids, mask)| {
            ids.into_iter()
                .zip(mask)
                .filter(|(_, seen)| *seen)
                .map(|(id, _)| id)
                .collect()
        })
        .collect())
}
