//! The Q-Former's vocabulary that a configuration names.

use std::path::Path;

use blip2_data::text::BertTokenizer;

use crate::registry::find;
use crate::{Blip2Error, ModelConfig};

/// The Q-Former's tokenizer.
pub(crate) fn load_vocabulary(config: &ModelConfig, home: &Path) -> Result<BertTokenizer, Blip2Error> {
    let path = find(&config.vocabulary, home, "vocabulary")?;
    let tokenizer = BertTokenizer::from_file(&path)?;
    check_vocabulary(&path, &tokenizer, config.representation.qformer.vocab_size)?;
    Ok(tokenizer)
}

/// A tokenizer must not know more ids of text than there are `rows` of word embeddings. Special tokens may stand outside: `[DEC]`,
/// where it is an addition of ours to a model that does not write with the Q-Former, and the `<image>` of `transformers`.
pub(crate) fn check_vocabulary(
    path: &Path,
    tokenizer: &BertTokenizer,
    rows: usize,
) -> Result<(), Blip2Error> {
    let ids = tokenizer.text_vocabulary();
    if ids <= rows {
        return Ok(());
    }
    let reason = format!(
        "it has {ids} ids of text, but the Q-Former only {rows} word embeddings: it belongs to another model"
    );
    Err(Blip2Error::Config {
        path: path.to_owned(),
        reason,
    })
}
