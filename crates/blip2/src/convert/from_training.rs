//! From what was trained here to a folder of `transformers`, or to what LAVIS saves.

use std::path::Path;

use blip2_core::LoadPlan;
use blip2_core::weights::{
    Assembled, LoadOptions, NameMap, Part, SafetensorsStore, TensorInfo, TensorStore, collect, load,
};
use blip2_qformer::{LAVIS_LLAMA_BRIDGE, LAVIS_OPT_BRIDGE, LAVIS_REPRESENTATION, LAVIS_T5_BRIDGE};
use blip2_vision_encoder::{
    LAVIS_CLIP_ENCODER, LAVIS_EVA_ENCODER, VisionTransformer, VisionTransformerConfig,
};
use burn::tensor::{Device, TensorData};

use super::files::{copy_adapter, write_checkpoint};
use super::instruction::TextRows;
use super::{Conversion, Instruction, LeftOut};
use crate::folder::{load_bridge, load_representation};
use crate::registry::find;
use crate::save::Saved;
use crate::usage::Address;
use crate::{
    ADAPTER, BRIDGE, Blip2Error, CONFIG, ENCODER, EncoderConfig, HuggingFaceFolder, LanguageModelConfig,
    ModelConfig, REPRESENTATION, Reads, Trained, model_folder, read_config,
};

/// An encoder's last norm, which nothing reads: the one behind the features belongs to the bridge.
const LAST_NORM: &str = "norm.";
const BLOCKS: &str = "blocks.";
const NO_KEY_BIAS: &str =
    "LAVIS has no key bias; it shifts all scores of a query alike, so that no output changes";
const UNREAD: &str = "no part of BLIP-2 reads it";
const UPDATES: &str = "adapter_model.safetensors";
const UPDATE: &str =
    "LAVIS reads no low-rank updates of the language model: keep the folder `adapter`, which `peft` reads";

/// Writes what was trained in `folder`, a model or run folder of ours, as the new folder `out` that `transformers` loads: `like` is
/// such a folder of the same architecture, from which all comes that was frozen, and the number format. The encoder's positions and
/// the size of pictures are those of the training; low-rank updates are copied to `adapter` in the new folder, for PEFT to put beside
/// its language model. Where the Q-Former reads texts, the new folder is an InstructBLIP, with the vocabulary that `folder` names, which
/// is looked for under `home`.
///
/// # Errors
/// [`Blip2Error`], with the file at fault, where `folder` and `like` are of different architectures.
pub fn trained_to_hugging_face(
    folder: &Path,
    home: &Path,
    like: &Path,
    out: &Path,
) -> Result<Conversion, Blip2Error> {
    let folder = model_folder(folder)?;
    let (config, base) = (read_config(&folder)?, HuggingFaceFolder::open(like)?);
    base.check()?;
    let instruction = match config.reads {
        Reads::Nothing => None,
        Reads::Question | Reads::Prompt => Some(instruction(&config, home, like)?),
    };
    let EncoderConfig {
        block, final_norm, ..
    } = config.encoder;
    let blocks = VisionTransformerConfig::read(&like.join("config.json"))?.num_hidden_layers;
    if final_norm || read_blocks(block, blocks) != blocks {
        return Err(Blip2Error::Config {
            path: folder.join(CONFIG),
            reason: format!(
                "the features are those of block {block}{}, but a model of transformers takes those of its last, before the norm that \
                 the bridge has",
                if final_norm {
                    " behind the encoder's own norm"
                } else {
                    ""
                }
            ),
        });
    }
    let device = Device::flex();
    let encoder = trained_encoder(&folder, &config, &base)?;
    let bridge = load_bridge(&folder, &config, &device)?;
    let representation = match bridge {
        Some(_) => None,
        None => load_representation(&folder, &config, &device)?,
    };
    let trained = Trained {
        encoder: encoder.as_ref(),
        bridge: bridge.as_ref(),
        representation: representation.as_ref(),
    };
    let Saved { written, left_out } = base.save(out, trained, instruction.as_ref())?;
    copy_adapter(&folder.join(ADAPTER), &out.join(ADAPTER))?;
    let own = [ENCODER, BRIDGE, REPRESENTATION].map(|file| folder.join(file));
    let trained = own.iter().filter(|file| file.is_file());
    let trained = trained.map(|file| Ok(SafetensorsStore::open(file)?.tensors().len()));
    let trained: usize = trained.sum::<Result<usize, Blip2Error>>()?;
    Ok(Conversion {
        written,
        frozen: written.saturating_sub(trained),
        dropped: left_out,
        absent: Vec::new(),
    })
}

/// How the Q-Former of `config` reads texts, in a folder like `like`.
fn instruction(config: &ModelConfig, home: &Path, like: &Path) -> Result<Instruction, Blip2Error> {
    let qformer = &config.representation.qformer;
    let rows = TextRows {
        words: qformer.vocab_size,
        positions: qformer.max_position_embeddings,
    };
    let vocabulary = find(&config.vocabulary, home, "vocabulary")?;
    Instruction::new(like, &vocabulary, rows, Some(Address::of(config)))
}

/// How many of `blocks` are computed for the features of `block`, which counts from the end where it is negative.
fn read_blocks(block: i32, blocks: usize) -> usize {
    match usize::try_from(block) {
        Ok(block) => block,
        Err(_) => (blocks + 1).saturating_sub(block.unsigned_abs() as usize),
    }
}

/// The encoder as it was trained, or, where it was frozen but looked at pictures of another size than `base` does, with positions
/// for these; nothing where it is that of `base`.
fn trained_encoder(
    folder: &Path,
    config: &ModelConfig,
    base: &HuggingFaceFolder,
) -> Result<Option<VisionTransformer>, Blip2Error> {
    let plan = LoadPlan::from(&Device::flex());
    let file = folder.join(ENCODER);
    let processor = base.processor()?;
    let side = config.encoder.image_size.unwrap_or(processor.height);
    if !file.is_file() && side == processor.height {
        return Ok(None);
    }
    let encoder = base.encoder(&plan)?;
    let encoder = encoder.with_positions_for(side as usize, side as usize)?;
    if !file.is_file() {
        return Ok(Some(encoder));
    }
    let names = NameMap {
        rename: NameMap::OWN.rename,
        ignored: |name| name.starts_with(LAST_NORM),
    };
    let store = SafetensorsStore::open(&file)?;
    Ok(Some(load(encoder, &store, &names, LoadOptions::default())?))
}

/// Writes what was trained in `folder`, a model or run folder of ours, to `out` as LAVIS saves it: the trained tensors alone, under
/// its names; the stage-2 model where there is one, else stage 1's. The name of `out` ends in `.pth` or `.safetensors`. The language
/// model is looked for under `home`, to know its family.
///
/// # Errors
/// [`Blip2Error`] where `folder` is no model, or its language model cannot be found.
pub fn trained_to_lavis(folder: &Path, home: &Path, out: &Path) -> Result<Conversion, Blip2Error> {
    let folder = model_folder(folder)?;
    let config = read_config(&folder)?;
    let mut saving = Saving {
        lavis: Assembled::new(folder.display().to_string()),
        dropped: Vec::new(),
    };
    let encoder = folder.join(ENCODER);
    if encoder.is_file() {
        let store = SafetensorsStore::open(&encoder)?;
        let is_clip = store.tensors().contains_key("pre_norm.weight");
        let names = if is_clip {
            LAVIS_CLIP_ENCODER
        } else {
            LAVIS_EVA_ENCODER
        };
        let number = |path: &str| {
            path.strip_prefix(BLOCKS)?
                .split('.')
                .next()?
                .parse::<usize>()
                .ok()
        };
        let blocks = store.tensors().keys().filter_map(|path| number(path)).max();
        let read = read_blocks(config.encoder.block, blocks.map_or(0, |last| last + 1));
        for path in store.tensors().keys() {
            if path.starts_with(LAST_NORM) || number(path).is_some_and(|block| block >= read) {
                saving.drop(path, UNREAD);
                continue;
            }
            let shape = match path.as_str() {
                "embeddings.class" if is_clip => Some(1),
                "embeddings.positions" if is_clip => Some(2),
                _ => None,
            };
            saving.put(path, store.read(path)?, &names, shape);
        }
    }
    let device = Device::flex();
    if let Some(bridge) = load_bridge(&folder, &config, &device)? {
        let names = bridge_names(config.language_model.as_ref(), home, &folder)?;
        for (path, data) in collect(&bridge) {
            saving.put(&path, data, &names, None);
        }
    } else if let Some(representation) = load_representation(&folder, &config, &device)? {
        for (path, data) in collect(&representation) {
            let dimensions = (path == "temperature").then_some(0);
            saving.put(&path, data, &LAVIS_REPRESENTATION, dimensions);
        }
    }
    let updates = folder.join(ADAPTER);
    if updates.is_dir() {
        for name in SafetensorsStore::open(&updates.join(UPDATES))?.tensors().keys() {
            saving.drop(name, UPDATE);
        }
    }
    let lavis = saving.lavis.joined();
    write_checkpoint(out, &lavis, &folder)?;
    Ok(Conversion {
        written: lavis.tensors().len(),
        frozen: 0,
        dropped: saving.dropped,
        absent: Vec::new(),
    })
}

/// Names of the bridge in front of this family of language models.
fn bridge_names(
    language_model: Option<&LanguageModelConfig>,
    home: &Path,
    folder: &Path,
) -> Result<NameMap, Blip2Error> {
    let config = language_model.ok_or_else(|| Blip2Error::Config {
        path: folder.join(CONFIG),
        reason: "it names no `language_model`, whose family LAVIS calls the projection by".to_owned(),
    })?;
    let path = find(&config.path, home, "language model")?;
    let family = match &config.model_type {
        Some(given) => given.clone(),
        None => blip2_llm_adapters::model_type(&path).map_err(|source| Blip2Error::LanguageModel {
            path,
            source: Box::new(source),
        })?,
    };
    Ok(match family.as_str() {
        "opt" => LAVIS_OPT_BRIDGE,
        "t5" => LAVIS_T5_BRIDGE,
        _ => LAVIS_LLAMA_BRIDGE,
    })
}

/// A checkpoint in the making.
struct Saving {
    lavis: Assembled<'static>,
    dropped: Vec<LeftOut>,
}

impl Saving {
    /// Adds the parameter at `path`, without its leading dimensions of one beyond `dimensions`.
    fn put(&mut self, path: &str, data: TensorData, names: &NameMap, dimensions: Option<usize>) {
        let Some(name) = (names.rename)(path) else {
            return self.drop(path, NO_KEY_BIAS);
        };
        let mut shape = data.shape().to_vec();
        while dimensions.is_some_and(|most| shape.len() > most) && shape.first() == Some(&1) {
            shape.remove(0);
        }
        let info = TensorInfo {
            dtype: data.dtype(),
            shape,
        };
        self.lavis.put(&name, info, Part::Values(data));
    }

    fn drop(&mut self, path: &str, reason: &'static str) {
        self.dropped.push(LeftOut {
            name: path.to_owned(),
            reason,
        });
    }
}
