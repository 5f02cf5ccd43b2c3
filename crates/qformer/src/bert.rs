//! Starting from BERT: what BERT has is copied, what BLIP-2 adds stays new.

use std::collections::BTreeMap;

use blip2_core::weights::{LoadOptions, NameMap, TensorInfo, TensorStore, WeightError, load};
use burn::tensor::{DType, TensorData};

use crate::RepresentationModel;
use crate::names::bert;

const WORDS: &str = "embeddings.word_embeddings.weight";
const BIAS: &str = "cls.predictions.bias";

/// Loads the weights of a BERT (names with or without the `bert.` prefix) into a fresh stage-1 model: embeddings, shared
/// self-attention and the text network, the query network as a copy of the text network, and the prediction head where the
/// file has one. Entries of the vocabulary beyond BERT's, such as `[DEC]`, keep their fresh values.
///
/// # Errors
/// [`WeightError::Mismatch`] where BERT has other sizes, [`WeightError`] where the file cannot be read.
pub fn load_bert(
    model: RepresentationModel,
    store: &dyn TensorStore,
) -> Result<RepresentationModel, WeightError> {
    let fresh = [
        (WORDS, model.decoder().inner().into_data()),
        (BIAS, model.language_head.bias.val().inner().into_data()),
    ];
    let widened = Widened::new(store, fresh.map(|(name, data)| (name, data.convert::<f32>())))?;
    let names = NameMap {
        rename: |path| Some(bert_name(path)),
        ignored: |_| true,
    };
    let options = LoadOptions {
        optional: |path| {
            !path.starts_with("qformer.")
                || path.contains("cross_attention")
                || path.ends_with("query_tokens")
        },
        dtype: Some(DType::F32),
    };
    load(model, &widened, &names, options)
}

/// BERT's name of a parameter; ours may begin with `qformer.`. Either feed-forward network is BERT's one.
pub(crate) fn bert_name(path: &str) -> String {
    if let Some(rest) = path.strip_prefix("language_head.") {
        return match rest {
            "bias" => BIAS.to_owned(),
            _ => format!(
                "cls.predictions.transform.{}",
                rest.replace("layer_norm", "LayerNorm")
            ),
        };
    }
    let path = path.strip_prefix("qformer.").unwrap_or(path);
    bert(&path.replace("query_feed_forward", "text_feed_forward"))
}

/// A BERT whose vocabulary is as long as the model's, and whose names have no prefix.
struct Widened<'a> {
    store: &'a dyn TensorStore,
    prefix: &'static str,
    tensors: BTreeMap<String, TensorInfo>,
    /// What is as long as the vocabulary, in f32: the values that BERT does not have come from here.
    fresh: [(&'static str, TensorData); 2],
}

impl<'a> Widened<'a> {
    fn new(store: &'a dyn TensorStore, fresh: [(&'static str, TensorData); 2]) -> Result<Self, WeightError> {
        let prefix = if store.tensors().contains_key(WORDS) {
            ""
        } else {
            "bert."
        };
        let mut tensors: BTreeMap<_, _> = store
            .tensors()
            .iter()
            .map(|(name, info)| (name.strip_prefix(prefix).unwrap_or(name).to_owned(), info.clone()))
            .collect();
        if !tensors.contains_key(WORDS) {
            return Err(WeightError::Absent {
                file: store.label(),
                name: WORDS.to_owned(),
            });
        }
        for (name, values) in &fresh {
            let Some(info) = tensors.get_mut(*name) else {
                continue;
            };
            let (have, want) = (&info.shape, values.shape().to_vec());
            if have.len() == want.len() && have[1..] == want[1..] && have[0] <= want[0] {
                info.shape = want;
            }
        }
        Ok(Self {
            store,
            prefix,
            tensors,
            fresh,
        })
    }
}

impl TensorStore for Widened<'_> {
    fn label(&self) -> String {
        self.store.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let stored = format!("{}{name}", self.prefix);
        let known = self.store.tensors().contains_key(&stored);
        let data = self.store.read(if known { &stored } else { name })?;
        let Some((_, fresh)) = self.fresh.iter().find(|(widened, _)| *widened == name) else {
            return Ok(data);
        };
        let unequal = |error: burn::tensor::DataError| WeightError::Format {
            path: self.store.label().into(),
            format: "BERT weight",
            reason: format!("{name}: {error}"),
        };
        let known = data.convert::<f32>();
        let known = known.as_slice::<f32>().map_err(unequal)?;
        let mut values = fresh.try_to_vec::<f32>().map_err(unequal)?;
        values[..known.len()].copy_from_slice(known);
        Ok(TensorData::new(values, fresh.shape().to_vec()))
    }
}
