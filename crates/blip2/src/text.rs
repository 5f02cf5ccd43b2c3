//! Text as the Q-Former reads it.

use blip2_data::text::{BertTokenizer, Padding};
use blip2_qformer::TextBatch;
use burn::tensor::Device;

use crate::Blip2Error;

/// Tokenises `texts` for the Q-Former, each cut to `max_tokens` with `[CLS]` and `[SEP]`. The texts are taken as they are:
/// clean them first ([`blip2_data::text::caption`]).
///
/// # Errors
/// [`Blip2Error::Text`] where the tokenizer refuses, [`Blip2Error::Model`] where there is no text.
pub fn text_batch<T: AsRef<str>>(
    tokenizer: &BertTokenizer,
    texts: &[T],
    max_tokens: usize,
    device: &Device,
) -> Result<TextBatch, Blip2Error> {
    let batch = tokenizer.encode(texts, max_tokens, Padding::Longest)?;
    let rows = batch.ids.into_iter().zip(batch.mask);
    let rows = rows.map(|(ids, mask)| {
        ids.into_iter()
            .zip(mask)
            .filter_map(|(id, real)| real.then_some(id))
            .collect()
    });
    Ok(TextBatch::new(rows.collect(), device)?)
}
