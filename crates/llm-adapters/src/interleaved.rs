//! Texts in which several pictures and their words take turns, learned by a decoder-only model.

use blip2_core::{ModelError, TextExample};
use burn::tensor::Tensor;

use crate::batch::{check_context, embed_behind, list, longest, no_target};
use crate::causal::{CausalModel, predicted, read_behind, whole};

/// [`blip2_core::LanguageModel::interleaved_loss`].
pub(crate) fn loss<M: CausalModel>(
    model: &M,
    soft_prompt: Tensor<3>,
    examples: &[TextExample],
    pairs: usize,
) -> Result<Tensor<1>, ModelError> {
    if pairs == 0 || !examples.len().is_multiple_of(pairs) {
        return Err(ModelError::Invalid(format!(
            "{} pictures with their words cannot be cut into texts of {pairs}",
            examples.len()
        )));
    }
    let queries = soft_prompt.dims()[1];
    let words = whole(examples);
    let words: Vec<&[u32]> = words.iter().map(Vec::as_slice).collect();
    let places = words.iter().map(|words| queries + words.len());
    let places: Vec<usize> = places.collect();
    let tokens = places.chunks(pairs).map(|text| text.iter().sum()).max();
    let tokens: usize = tokens.unwrap_or_default();
    check_context(M::NAME, tokens, model.positions())?;

    // Each picture with its words is a row of `padded`; a text is what is real of its rows.
    let padded = queries + longest(&words);
    let (mut taken, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (text, (examples, places)) in examples.chunks(pairs).zip(places.chunks(pairs)).enumerate() {
        let mut begin = text * tokens;
        for (number, (example, places)) in examples.iter().zip(places).enumerate() {
            let first = (text * pairs + number) * padded;
            taken.extend((first..first + places).map(|place| place as i64));
            let behind = begin + queries + example.prompt.len();
            for (index, target) in example.target.iter().enumerate() {
                // The token at a place is predicted by the one before; the very first of a text by nothing.
                if behind + index > text * tokens {
                    rows.push((behind + index - 1) as i64);
                    targets.push(i64::from(*target));
                }
            }
            begin += places;
        }
        // Nothing real looks at what stands behind, so that any place will do.
        taken.resize((text + 1) * tokens, 0);
    }
    if targets.is_empty() {
        return Err(no_target());
    }
    let embeddings = embed_behind(soft_prompt, &words, model.words())?;
    let [batch, _, width] = embeddings.dims();
    let device = embeddings.device();
    let texts = embeddings
        .reshape([batch * padded, width])
        .select(0, list(taken, &device))
        .reshape([batch / pairs, tokens, width]);
    Ok(predicted(
        model,
        read_behind(model, &[], texts, drop),
        rows,
        targets,
    ))
}
