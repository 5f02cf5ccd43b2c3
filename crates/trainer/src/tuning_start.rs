//! Where fine-tuning starts: all of what was trained before, whoever saved it.

use std::collections::BTreeMap;
use std::path::Path;

use blip2::Reads;
use blip2_core::Initializer;
use blip2_core::weights::{Assembled, LoadOptions, NameMap, Part, TensorInfo, TensorStore, collect, load};
use blip2_qformer::{
    Bridge, HUGGING_FACE_BRIDGE, HUGGING_FACE_INSTRUCT, LAVIS_LLAMA_BRIDGE, LAVIS_OPT_BRIDGE,
    LAVIS_T5_BRIDGE, RepresentationConfig, RepresentationModel,
};
use burn::tensor::Device;

use crate::TrainError;
use crate::start::{family, weights_at};

/// A parameter that a Q-Former has only with its text branch.
const TEXT: &str = "qformer.text_embeddings.word_embeddings.weight";

/// Only what is wanted: other parts of the same file are left to their own loaders.
fn only(names: NameMap) -> NameMap {
    NameMap {
        rename: names.rename,
        ignored: |_| true,
    }
}

/// The stage-1 model of the sizes of `config` at `path`: a model or run folder of ours, what LAVIS saved, or a folder of
/// `transformers`, which has neither language head nor temperature: these are as new.
///
/// # Errors
/// [`TrainError::Weights`] with all tensors that are missing or of another shape.
pub fn representation_at(
    path: &Path,
    config: &RepresentationConfig,
    device: &Device,
) -> Result<RepresentationModel, TrainError> {
    let store = weights_at(path, &[blip2::REPRESENTATION])?;
    let model = RepresentationModel::new(&mut Initializer::new(0, device), config)?;
    let names = only(family(store.as_ref()));
    Ok(load(model, store.as_ref(), &names, LoadOptions::default())?)
}

/// The bridge at `path`, with its projection, in front of a language model of `hidden_size`. Where its Q-Former is to read a text
/// and has none of the branch for it, that of the stage-1 model at `text_from` is taken.
///
/// # Errors
/// [`TrainError::Weights`] with all tensors that are missing or of another shape; [`TrainError::Recipe`] where the text branch is
/// nowhere.
pub fn bridge_at(
    path: &Path,
    text_from: Option<&Path>,
    config: &RepresentationConfig,
    reads: Reads,
    hidden_size: usize,
    device: &Device,
) -> Result<Bridge, TrainError> {
    let store = weights_at(path, &[blip2::BRIDGE])?;
    let names = bridge_family(store.as_ref());
    let (qformer, epsilon) = (&config.qformer, config.vision_layer_norm_eps);
    let initializer = &mut Initializer::new(0, device);
    let has_text = (names.rename)(TEXT).is_some_and(|name| store.tensors().contains_key(&name));
    if reads.is_nothing() || !has_text {
        let bridge = Bridge::new(initializer, qformer, epsilon, hidden_size)?;
        let bridge = load(bridge, store.as_ref(), &only(names), LoadOptions::default())?;
        if reads.is_nothing() {
            return Ok(bridge);
        }
        let text_from = text_from.ok_or_else(|| TrainError::Recipe {
            path: path.to_owned(),
            reason: "the Q-Former is to read a text, but what is saved here has no text branch (stage 2 drops it): name the \
                     stage-1 model that it was made from as stage2.text_from"
                .to_owned(),
        })?;
        let texts = representation_at(text_from, config, device)?;
        let own = collect(&texts)
            .into_iter()
            .filter(|(path, _)| path.starts_with("qformer."));
        let mut values: BTreeMap<_, _> = own.collect();
        values.extend(collect(&bridge));
        let mut whole = Assembled::new(format!("{} and {}", path.display(), text_from.display()));
        for (path, data) in values {
            let info = TensorInfo {
                dtype: data.dtype(),
                shape: data.shape().to_vec(),
            };
            whole.put(&path, info, Part::Values(data));
        }
        let bridge = Bridge::instructed(initializer, qformer, epsilon, hidden_size)?;
        let names = only(NameMap::OWN);
        return Ok(load(bridge, &whole.joined(), &names, LoadOptions::default())?);
    }
    let bridge = Bridge::instructed(initializer, qformer, epsilon, hidden_size)?;
    Ok(load(
        bridge,
        store.as_ref(),
        &only(names),
        LoadOptions::default(),
    )?)
}

/// By whose names the tensors of a bridge go.
fn bridge_family(store: &dyn TensorStore) -> NameMap {
    let holds = |name: &str| store.tensors().contains_key(name);
    if holds("opt_proj.weight") {
        LAVIS_OPT_BRIDGE
    } else if holds("t5_proj.weight") {
        LAVIS_T5_BRIDGE
    } else if holds("llm_proj.weight") {
        LAVIS_LLAMA_BRIDGE
    } else if holds("projection.weight") {
        NameMap::OWN
    } else if holds("qformer.embeddings.layernorm.weight") {
        HUGGING_FACE_INSTRUCT
    } else {
        HUGGING_FACE_BRIDGE
    }
}
