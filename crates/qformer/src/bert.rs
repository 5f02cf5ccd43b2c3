//! Starting from BERT: what BERT has is copied, what BLIP-2 adds stays new.

use std::collections::BTreeMap;

use blip2_core::weights::{
    LoadOptions, NameMap, TensorInfo, TensorStore, WeightError, check, load, parameters,
};
use burn::tensor::{DType, TensorData};

use crate::RepresentationModel;
use crate::names::bert;

const WORDS: &str = "embeddings.word_embeddings.weight";
const BIAS: &str = "cls.predictions.bias";

/// Loads the weights of a BERT (names with or without the `bert.` prefix) into a fresh stage-1 model: embeddings, shared
/// self-attention and the text network, the query network as a copy of the text network, and the prediction head where the
/// file has one. A model of fewer layers than BERT starts from BERT's first ones. Entries of the vocabulary beyond BERT's, such as `[DEC]`, keep their fresh values.
///
/// # Errors
/// [`WeightError::Mismatch`] where BERT has other sizes, [`WeightError`] where the file cannot be read.
pub fn load_bert(
    model: RepresentationModel,
    store: &dyn TensorStore,
) -> Result<RepresentationModel, WeightError> {
    let fresh = model.clone();
    load(model, &Widened::new(store, &fresh)?, &NAMES, OPTIONS)
}

/// Whether `store` holds the BERT that `model` can start from, as [`load_bert`] would want it, by names and shapes alone:
/// nothing is read.
///
/// # Errors
/// [`WeightError::Mismatch`] as from there.
pub fn check_bert(model: &RepresentationModel, store: &dyn TensorStore) -> Result<(), WeightError> {
    check(model, &Widened::new(store, model)?, &NAMES, OPTIONS)
}

const NAMES: NameMap = NameMap {
    rename: |path| Some(bert_name(path)),
    ignored: |name| BESIDE.iter().any(|part| name.starts_with(part)),
};

/// What BERT has and BLIP-2 does without: segments, the pooler, the next sentence, and the head's decoder, which is the word
/// embedding.
const BESIDE: [&str; 4] = [
    "embeddings.token_type_embeddings.",
    "pooler.",
    "cls.seq_relationship.",
    "cls.predictions.decoder.",
];

const OPTIONS: LoadOptions = LoadOptions {
    optional: |path| {
        !path.starts_with("qformer.") || path.contains("cross_attention") || path.ends_with("query_tokens")
    },
    dtype: Some(DType::F32),
};

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
    tensors: BTreeMap<String, TensorInfo>,
    /// What each is called in the file.
    stored: BTreeMap<String, String>,
    /// The values that BERT does not have come from here.
    fresh: &'a RepresentationModel,
}

impl<'a> Widened<'a> {
    fn new(store: &'a dyn TensorStore, fresh: &'a RepresentationModel) -> Result<Self, WeightError> {
        let stored: BTreeMap<_, _> = store
            .tensors()
            .keys()
            .map(|name| (modern(name), name.clone()))
            .collect();
        let mut tensors: BTreeMap<_, _> = stored
            .iter()
            .filter(|(name, _)| {
                layer(name).is_none_or(|layer| layer < fresh.qformer.config().num_hidden_layers)
            })
            .map(|(name, stored)| (name.clone(), store.tensors()[stored].clone()))
            .collect();
        if !tensors.contains_key(WORDS) {
            return Err(WeightError::Absent {
                file: store.label(),
                name: WORDS.to_owned(),
            });
        }
        let wanted = parameters(fresh)
            .into_iter()
            .map(|parameter| (bert_name(&parameter.path), parameter.shape))
            .filter(|(name, _)| is_as_long_as_the_vocabulary(name));
        for (name, want) in wanted {
            let Some(info) = tensors.get_mut(&name) else {
                continue;
            };
            let have = &info.shape;
            if have.len() == want.len() && have[1..] == want[1..] && have[0] <= want[0] {
                info.shape = want;
            }
        }
        Ok(Self {
            store,
            tensors,
            stored,
            fresh,
        })
    }

    /// The model's own values of what is as long as the vocabulary.
    fn fresh(&self, name: &str) -> TensorData {
        let data = match name {
            WORDS => self.fresh.decoder().inner().into_data(),
            _ => self.fresh.language_head.bias.val().inner().into_data(),
        };
        data.convert::<f32>()
    }
}

/// The name of a tensor without `bert.`, and with the scale and shift of a layer norm called as they are since 2019.
fn modern(name: &str) -> String {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
        (Some(norm), _) => format!("{norm}.weight"),
        (_, Some(norm)) => format!("{norm}.bias"),
        _ => name.to_owned(),
    }
}

/// Which layer a tensor is of, where it is of one.
fn layer(name: &str) -> Option<usize> {
    let rest = name.strip_prefix("encoder.layer.")?;
    rest.split('.').next()?.parse().ok()
}

fn is_as_long_as_the_vocabulary(name: &str) -> bool {
    [WORDS, BIAS].contains(&name)
}

impl TensorStore for Widened<'_> {
    fn label(&self) -> String {
        self.store.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let stored = self.stored.get(name).ok_or_else(|| WeightError::Absent {
            file: self.label(),
            name: name.to_owned(),
        })?;
        let data = self.store.read(stored)?;
        if !is_as_long_as_the_vocabulary(name) {
            return Ok(data);
        }
        let unequal = |error: burn::tensor::DataError| WeightError::Format {
            path: self.store.label().into(),
            format: "BERT weight",
            reason: format!("{name}: {error}"),
        };
        let (known, fresh) = (data.convert::<f32>(), self.fresh(name));
        let known = known.as_slice::<f32>().map_err(unequal)?;
        let mut values = fresh.try_to_vec::<f32>().map_err(unequal)?;
        values[..known.len()].copy_from_slice(known);
        Ok(TensorData::new(values, fresh.shape().to_vec()))
    }
}
