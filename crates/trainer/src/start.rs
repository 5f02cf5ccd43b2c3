//! Where training starts: the Q-Former as BERT gave it, the bridge as stage 1 or somebody else left it.

use std::path::{Path, PathBuf};

use blip2::Reads;
use blip2_core::layers::{LayerNorm, Linear};
use blip2_core::weights::{LoadOptions, NameMap, TensorStore, load, open_any, open_weights};
use blip2_core::{Initializer, LanguageModel, ModelError};
use blip2_qformer::{
    Bridge, HUGGING_FACE_REPRESENTATION, LAVIS_REPRESENTATION, QFormer, RepresentationConfig,
    RepresentationModel, load_bert,
};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};

use crate::{Projection, Prompts, Row, TrainError};

/// Where `from` in a stage is: at the path as it is, or under the folder `home`, or in the Hugging Face cache under that name.
pub fn found(path: &Path, home: &Path) -> PathBuf {
    let here = home.join(path);
    match path.exists() {
        true => path.to_owned(),
        false if here.exists() => here,
        false => blip2::locate(path, None).unwrap_or(here),
    }
}

/// A stage-1 model as BERT (any supported weights at `bert`, [`open_any`]) and the seed make it, for features of `encoder_width`.
///
/// # Errors
/// [`TrainError::Recipe`] where the Q-Former is made for another width; [`TrainError::Weights`] where BERT does not fit.
pub fn representation_from_bert(
    config: &RepresentationConfig,
    encoder_width: usize,
    bert: &Path,
    seed: u64,
    device: &Device,
) -> Result<RepresentationModel, TrainError> {
    let width = config.qformer.encoder_hidden_size;
    if width != encoder_width {
        return Err(TrainError::Recipe {
            path: "recipe.toml".into(),
            reason: format!(
                "representation.qformer.encoder_hidden_size is {width}, but the encoder's features are {encoder_width} wide"
            ),
        });
    }
    let model = RepresentationModel::new(&mut Initializer::new(seed, device), config)?;
    Ok(load_bert(model, open_any(bert)?.as_ref())?)
}

/// What stage 2 takes from before: all of a bridge but its projection.
#[derive(Module, Debug)]
pub struct Trunk {
    /// Layer norm on the frozen encoder's features.
    pub vision_norm: LayerNorm,
    /// With a text branch only where it is to read texts there, too.
    pub qformer: QFormer,
}

impl Trunk {
    /// Of the sizes of `config`, from the file or folder `path`: a model or run folder of ours, what LAVIS saved of stage 1 or
    /// 2 (`.pth`), or a folder of `transformers`. Heads, text branch, projection and frozen models of it are left unread.
    ///
    /// # Errors
    /// [`TrainError::Weights`] with all tensors that are missing or of another shape.
    pub fn open(path: &Path, config: &RepresentationConfig, device: &Device) -> Result<Self, TrainError> {
        Self::open_for(Reads::Nothing, path, config, device)
    }

    /// The same with what stage 2 needs where the Q-Former `reads` a text beside the picture: the text branch.
    ///
    /// # Errors
    /// As for [`Trunk::open`].
    pub fn open_for(
        reads: Reads,
        path: &Path,
        config: &RepresentationConfig,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let store = weights_at(path, &[blip2::REPRESENTATION, blip2::BRIDGE])?;
        let mut initializer = Initializer::new(0, device);
        let width = config.qformer.encoder_hidden_size;
        let trunk = Self {
            vision_norm: LayerNorm::new(&mut initializer, width, config.vision_layer_norm_eps),
            qformer: QFormer::new(&mut initializer, &config.qformer, !reads.is_nothing())?,
        };
        let names = NameMap {
            rename: family(store.as_ref()).rename,
            ignored: |_| true,
        };
        Ok(load(trunk, store.as_ref(), &names, LoadOptions::default())?)
    }
}

/// The weights at `path`: the first of `files` in a model or run folder of ours, else whatever [`open_weights`] takes.
pub(crate) fn weights_at(path: &Path, files: &[&str]) -> Result<Box<dyn TensorStore>, TrainError> {
    let weights = match blip2::model_folder(path) {
        Ok(folder) => files
            .iter()
            .map(|name| folder.join(name))
            .find(|file| file.is_file())
            .unwrap_or(folder),
        Err(_) => path.to_owned(),
    };
    Ok(open_weights(&weights)?)
}

impl Trunk {
    /// As stage 1 left `model`, for a stage 2 whose Q-Former `reads` a text beside the picture.
    pub fn for_reading(reads: Reads, model: RepresentationModel) -> Self {
        match reads {
            Reads::Nothing => model.into(),
            Reads::Question | Reads::Prompt => Self {
                vision_norm: model.vision_norm,
                qformer: model.qformer,
            },
        }
    }
}

impl From<RepresentationModel> for Trunk {
    /// As stage 1 left it; its heads and text branch are dropped.
    fn from(model: RepresentationModel) -> Self {
        Self {
            vision_norm: model.vision_norm,
            qformer: model.qformer.without_text(),
        }
    }
}

/// By whose names the tensors of `store` go.
pub(crate) fn family(store: &dyn TensorStore) -> NameMap {
    let holds = |start: &str| store.tensors().keys().any(|name| name.starts_with(start));
    if holds("Qformer.") {
        LAVIS_REPRESENTATION
    } else if holds("qformer.query_tokens") {
        NameMap::OWN
    } else {
        HUGGING_FACE_REPRESENTATION
    }
}

/// Samples from which a projection to words is made; fewer where `samples` ends before.
const SAMPLES_OF_WORDS: usize = 512;

/// Some training samples, for first weights that are made from them.
pub struct FirstSamples {
    /// Features `[rows, tokens, width]` of the pictures.
    pub features: Tensor<3>,
    /// What is to be written of each, in ids of the language model, at least one.
    pub targets: Vec<Vec<u32>>,
}

impl FirstSamples {
    /// `rows` with the features of their pictures and, in the words of `prompts`, what is to be written of them, cut to
    /// `max_tokens` where it is given.
    ///
    /// # Errors
    /// As for [`Prompts::example`].
    pub fn new(
        prompts: &Prompts<'_>,
        rows: &[Row],
        max_tokens: Option<usize>,
        features: Tensor<3>,
    ) -> Result<Self, TrainError> {
        let targets = rows
            .iter()
            .map(|row| Ok(prompts.example(row, max_tokens)?.target));
        Ok(Self {
            features,
            targets: targets.collect::<Result<_, TrainError>>()?,
        })
    }
}

/// Where stage 2 starts: `trunk` with a new projection to the width of `language_model`. `samples` gives a part of the training
/// samples by its number, from 0, where the projection is made from them, and nothing where there are no more.
///
/// # Errors
/// What `samples` fails with; [`TrainError::Model`] where all pictures look the same.
pub fn bridge_from(
    trunk: impl Into<Trunk>,
    language_model: &dyn LanguageModel,
    projection: Projection,
    mut samples: impl FnMut(u64) -> Result<Option<FirstSamples>, TrainError>,
    seed: u64,
    device: &Device,
) -> Result<Bridge, TrainError> {
    let Trunk { vision_norm, qformer } = trunk.into();
    let mut initializer = Initializer::new(seed ^ 2, device);
    let width = qformer.config().hidden_size;
    let bridge = Bridge {
        projection: Linear::uniform(&mut initializer, width, language_model.hidden_size()),
        vision_norm,
        qformer,
    };
    match projection {
        Projection::Pytorch | Projection::Kept => Ok(bridge),
        Projection::EmbeddingScale => {
            let FirstSamples { features, .. } = samples(0)?.ok_or_else(nothing_to_start_from)?;
            let deviation = language_model.embedding_deviation();
            Ok(bridge.with_projection_at_scale(&mut initializer, features, deviation)?)
        }
        Projection::Words => {
            // Off the tape: dropout is for training, and nothing learns from these passes.
            let plain = bridge.valid();
            let (mut states, mut words) = (Vec::new(), Vec::new());
            for part in 0.. {
                let more = if words.len() < SAMPLES_OF_WORDS {
                    samples(part)?
                } else {
                    None
                };
                let Some(FirstSamples { features, targets }) = more else {
                    break;
                };
                states.push(plain.query_states(plain.normalise(features.inner())?, None)?);
                for target in targets {
                    let embedded = language_model.word_embeddings(&target)?;
                    words.push(embedded.cast(DType::F32).mean_dim(0));
                }
            }
            if words.is_empty() {
                return Err(nothing_to_start_from());
            }
            let (states, words) = (
                Tensor::cat(states, 0),
                Tensor::cat(words, 0).to_device(&device.clone().inner()),
            );
            let deviation = language_model.embedding_deviation();
            Ok(bridge.with_projection_to_words(&mut initializer, states, words, deviation)?)
        }
    }
}

fn nothing_to_start_from() -> TrainError {
    let reason = "`bridge.projection` is made from training samples, and there are none: give some, or leave it at \"pytorch\"";
    ModelError::Invalid(reason.to_owned()).into()
}
