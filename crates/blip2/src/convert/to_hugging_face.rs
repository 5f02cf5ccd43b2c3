//! From a checkpoint of LAVIS to a folder of `transformers`.

use std::collections::BTreeSet;
use std::path::Path;

use blip2_core::weights::{
    Assembled, Part, TensorInfo, TensorStore, Views, WeightError, is_buffer, open_weights,
};
use serde::Deserialize;

use super::architecture::{Architecture, LANGUAGE_MODEL, in_thirds};
use super::files::{self, Changes, write_folder};
use super::instruction::TextRows;
use super::{Conversion, Instruction, LeftOut};
use crate::hugging_face::CONFIG;
use crate::usage::read_json;
use crate::{Blip2Error, HuggingFaceFolder, HuggingFaceKind, Trained};

/// How the LAVIS names begin that `transformers` has no place for, and why they are left out.
const DROPPED: [(&str, &str); 2] = [
    ("temp", "transformers keeps no temperature"),
    (
        "Qformer.cls.",
        "transformers keeps no language head of the Q-Former",
    ),
];

/// The embeddings of texts, which LAVIS takes away where the Q-Former reads none.
const WORDS: &str = "Qformer.bert.embeddings.word_embeddings.weight";
const POSITIONS: &str = "Qformer.bert.embeddings.position_embeddings.weight";
const BUFFER: &str = "transformers makes it itself";
const COPY: &str = "a copy of the embedding";

/// Writes the LAVIS checkpoint `checkpoint` (a file, or a folder with one) into the new folder `out` for `transformers` to
/// load; a folder of `transformers` is written anew. Configuration, tokenizer and processor come from `like`, a folder of the
/// same architecture, or else from the folder of the checkpoint; so does what is frozen in training, encoder and language
/// model, where the checkpoint, as LAVIS saves it, leaves it out. What is trained must be in the checkpoint.
///
/// A checkpoint whose Q-Former reads texts in front of a language model becomes an InstructBLIP. Where `like` is none, `vocabulary` is
/// the Q-Former's: a `vocab.txt` or `tokenizer.json`, which a checkpoint does not hold.
///
/// # Errors
/// [`Blip2Error`], with the file at fault; all that is missing, unexpected or mis-shaped is listed at once.
pub fn convert_to_hugging_face(
    checkpoint: &Path,
    like: Option<&Path>,
    vocabulary: Option<&Path>,
    out: &Path,
) -> Result<Conversion, Blip2Error> {
    let (checkpoint, beside) = files::checkpoint(checkpoint);
    if !checkpoint.exists() && beside.join(CONFIG).is_file() {
        return anew(&beside, out);
    }
    let (checkpoint, like) = (checkpoint.as_path(), like.unwrap_or(&beside));
    if !like.join(CONFIG).is_file() {
        return Err(Blip2Error::Config {
            path: like.join(CONFIG),
            reason: "it is not there: a LAVIS checkpoint does not say what it is; give a Hugging Face folder of the same \
                     architecture, whose configuration and tokenizer the new folder gets"
                .to_owned(),
        });
    }
    let file = open_weights(checkpoint)?;
    let (kind, instruction) = kind(file.as_ref(), like, vocabulary)?;
    let rows = instruction.as_ref().map(|instruction| instruction.rows);
    let architecture = Architecture::read(like, kind, rows)?;
    let base = match open_weights(like) {
        // A folder may hold the configuration alone, where the checkpoint holds all weights.
        Err(WeightError::NoWeights { .. }) => Box::new(Assembled::new(like.display().to_string())),
        opened => opened?,
    };
    let (own, base) = (in_thirds(file.as_ref()), in_thirds(base.as_ref()));
    let mut plan = Plan {
        own: &own,
        base: &base,
        folder: Assembled::new(checkpoint.display().to_string()),
        known: BTreeSet::new(),
        frozen: BTreeSet::new(),
        missing: Vec::new(),
        misshapen: Vec::new(),
    };
    for parameter in &architecture.parameters {
        if let Some(name) = &parameter.hugging_face {
            plan.add(
                name,
                parameter.lavis.as_deref(),
                &parameter.shape,
                parameter.frozen,
            );
        }
    }
    if let (Some(prefix), Some(model)) = (architecture.lavis_language_model, &architecture.language_model) {
        for (rest, shape) in &model.shapes {
            let (name, lavis) = (format!("{LANGUAGE_MODEL}{rest}"), format!("{prefix}{rest}"));
            if !architecture.is_optional(rest) || plan.holds(&name, &lavis) {
                plan.add(&name, Some(&lavis), shape, true);
            }
        }
    }
    let Plan {
        folder,
        known,
        frozen,
        missing,
        misshapen,
        ..
    } = plan;
    let (dropped, unexpected) = rest(&own, &known, &architecture);
    if !(missing.is_empty() && unexpected.is_empty() && misshapen.is_empty()) {
        return Err(WeightError::Mismatch {
            file: checkpoint.display().to_string(),
            missing,
            unexpected,
            misshapen,
        }
        .into());
    }
    let folder = folder.joined();
    let changes = Changes {
        side: None,
        instruction: instruction.as_ref(),
    };
    write_folder(out, &folder, like, changes)?;
    Ok(Conversion {
        written: folder.tensors().len(),
        frozen: frozen.len(),
        dropped,
        absent: Vec::new(),
    })
}

/// A folder of `transformers` written once more, whole.
fn anew(folder: &Path, out: &Path) -> Result<Conversion, Blip2Error> {
    let folder = HuggingFaceFolder::open(folder)?;
    folder.check()?;
    folder.save_pretrained(out, Trained::default())?;
    Ok(Conversion {
        written: folder.store().tensors().len(),
        ..Conversion::default()
    })
}

/// The folder in the making.
struct Plan<'a> {
    own: &'a Views<'a>,
    base: &'a Views<'a>,
    folder: Assembled<'a>,
    /// Names of the checkpoint that are used.
    known: BTreeSet<String>,
    /// Tensors that came from the other folder.
    frozen: BTreeSet<String>,
    missing: Vec<String>,
    misshapen: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Whether there are values for the tensor `name`, which the checkpoint calls `lavis`.
    fn holds(&self, name: &str, lavis: &str) -> bool {
        self.own.tensors().contains_key(lavis) || self.base.tensors().contains_key(name)
    }

    /// Takes the tensor `name` of the new folder from the checkpoint, where it is called `lavis`; or, where it is frozen and the
    /// checkpoint leaves it out, from the other folder.
    fn add(&mut self, name: &str, lavis: Option<&str>, shape: &[usize], frozen: bool) {
        let found: Option<(&'a Views<'a>, &str)> = match lavis {
            Some(lavis) if self.own.tensors().contains_key(lavis) => {
                self.known.insert(lavis.to_owned());
                Some((self.own, lavis))
            }
            Some(_) if frozen && self.base.tensors().contains_key(name) => {
                let whole = name.split('[').next().unwrap_or(name);
                self.frozen.insert(whole.to_owned());
                Some((self.base, name))
            }
            // Where the checkpoint has no key bias, it is zero; the other folder's belongs to the other thirds there.
            None => return self.add_key_bias(name),
            _ => None,
        };
        let Some((store, source)) = found else {
            self.missing.push(match lavis {
                Some(lavis) => format!("{lavis} ({name} there)"),
                None => name.to_owned(),
            });
            return;
        };
        let info = &store.tensors()[source];
        if !same(&info.shape, shape) {
            self.misshapen.push(format!(
                "{source}: {:?} in {}, {shape:?} in config.json",
                info.shape,
                store.label()
            ));
            return;
        }
        let info = TensorInfo {
            dtype: info.dtype,
            shape: shape.to_vec(),
        };
        self.folder
            .put(name, info, Part::Stored(store, source.to_owned()));
    }

    /// The key bias `name` goes with the query's, which was added before.
    fn add_key_bias(&mut self, name: &str) {
        let query = name.replace("[key]", "[query]");
        let whole = name.split('[').next().unwrap_or(name);
        if query != name && self.frozen.contains(whole) && self.base.tensors().contains_key(name) {
            let info = self.base.tensors()[name].clone();
            self.folder
                .put(name, info, Part::Stored(self.base, name.to_owned()));
        }
    }
}

/// Whether both shapes hold the same values in the same order.
fn same(left: &[usize], right: &[usize]) -> bool {
    let real = |shape: &[usize]| {
        shape
            .iter()
            .copied()
            .filter(|size| *size != 1)
            .collect::<Vec<_>>()
    };
    real(left) == real(right)
}

/// Which kind of folder the checkpoint becomes, and how its Q-Former reads texts where `like` does not say it.
fn kind(
    file: &dyn TensorStore,
    like: &Path,
    vocabulary: Option<&Path>,
) -> Result<(HuggingFaceKind, Option<Instruction>), Blip2Error> {
    #[derive(Deserialize)]
    struct Family {
        model_type: String,
    }
    if file.tensors().contains_key("itm_head.weight") {
        return Ok((HuggingFaceKind::Retrieval, None));
    }
    let family: Family = read_json(&like.join(CONFIG))?;
    if family.model_type == "instructblip" {
        return Ok((HuggingFaceKind::Instruction, None));
    }
    let rows = |name| {
        file.tensors()
            .get(name)
            .and_then(|info| info.shape.first().copied())
    };
    let (Some(words), Some(positions)) = (rows(WORDS), rows(POSITIONS)) else {
        return Ok((HuggingFaceKind::Generation, None));
    };
    let vocabulary = vocabulary.ok_or_else(|| Blip2Error::Config {
        path: like.join(CONFIG),
        reason: "it is no InstructBLIP, so that nothing says which vocabulary the Q-Former of the checkpoint reads texts by: name the \
                 `vocab.txt` or `tokenizer.json` of that BERT, too"
            .to_owned(),
    })?;
    let instruction = Instruction::new(like, vocabulary, TextRows { words, positions }, None)?;
    Ok((HuggingFaceKind::Instruction, Some(instruction)))
}

/// What of the checkpoint is left out on purpose, and what nobody expected there.
fn rest(
    file: &Views<'_>,
    known: &BTreeSet<String>,
    architecture: &Architecture,
) -> (Vec<LeftOut>, Vec<String>) {
    let is_copy = |name: &str| {
        let rest = name.strip_prefix(architecture.lavis_language_model?)?;
        let model = architecture.language_model.as_ref()?;
        (model.ignored)(rest).then_some(COPY)
    };
    let (mut dropped, mut unexpected) = (Vec::new(), Vec::new());
    for name in file.tensors().keys().filter(|name| !known.contains(*name)) {
        let listed = DROPPED.iter().find(|(start, _)| name.starts_with(start));
        let buffer = || is_buffer(name).then_some(BUFFER);
        match listed
            .map(|(_, reason)| *reason)
            .or_else(|| is_copy(name))
            .or_else(buffer)
        {
            Some(reason) => dropped.push(LeftOut {
                name: name.clone(),
                reason,
            }),
            None => unexpected.push(name.clone()),
        }
    }
    (dropped, unexpected)
}
