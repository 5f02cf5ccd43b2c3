//! From a folder of `transformers` to a checkpoint of LAVIS.

use std::path::Path;

use blip2_core::weights::{Assembled, Part, TensorInfo, TensorStore, is_buffer};

use super::architecture::{Architecture, LANGUAGE_MODEL, in_thirds};
use super::files::write_checkpoint;
use super::{Conversion, LeftOut};
use crate::{Blip2Error, HuggingFaceFolder};

const NO_KEY_BIAS: &str = "LAVIS has no key bias; it is zero";
const IDLE_KEY_BIAS: &str =
    "LAVIS has no key bias; it shifts all scores of a query alike, so that no output changes";
const BUFFER: &str = "LAVIS makes it itself";

/// Writes the model in `folder`, a whole BLIP-2 or InstructBLIP of `transformers`, to `out` as LAVIS names its tensors, the
/// frozen encoder and language model along with what was trained. Where the name of `out` ends in `.pth`, it is a file as
/// `torch.save` writes it; in `.safetensors`, such a file; else a new folder with a `model.pth` beside configuration, tokenizer
/// and processor, which [`convert_to_hugging_face`](super::convert_to_hugging_face) needs to come back.
///
/// # Errors
/// [`Blip2Error`], with the file at fault; all tensors that do not fit `config.json` are listed at once.
pub fn convert_to_lavis(folder: &Path, out: &Path) -> Result<Conversion, Blip2Error> {
    let opened = HuggingFaceFolder::open(folder)?;
    let architecture = Architecture::read(folder, opened.kind(), None)?;
    let store = opened.store();
    let thirds = in_thirds(store);
    architecture.check(&thirds)?;
    let (mut dropped, mut absent) = (Vec::new(), Vec::new());
    let mut lavis = Assembled::new(store.label());
    let mut drop = |name: &str, reason| {
        dropped.push(LeftOut {
            name: name.to_owned(),
            reason,
        });
    };
    for parameter in &architecture.parameters {
        match (&parameter.hugging_face, &parameter.lavis) {
            (Some(name), Some(own)) => {
                let info = scalar(own, &thirds.tensors()[name]);
                lavis.put(own, info, Part::Stored(&thirds, name.clone()));
            }
            (Some(name), None) => {
                let zero = thirds.read(name)?.iter::<f64>().all(|value| value == 0.0);
                drop(name, if zero { NO_KEY_BIAS } else { IDLE_KEY_BIAS });
            }
            (None, _) => absent.extend(parameter.lavis.clone()),
        }
    }
    for (name, info) in thirds.tensors() {
        if let (Some(prefix), Some(rest)) = (
            architecture.lavis_language_model,
            name.strip_prefix(LANGUAGE_MODEL),
        ) {
            let part = Part::Stored(&thirds, name.clone());
            lavis.put(&format!("{prefix}{rest}"), info.clone(), part);
        } else if is_buffer(name) {
            drop(name, BUFFER);
        }
    }
    let lavis = lavis.joined();
    write_checkpoint(out, &lavis, folder)?;
    Ok(Conversion {
        written: lavis.tensors().len(),
        frozen: 0,
        dropped,
        absent,
    })
}

/// LAVIS's temperature has no dimension.
fn scalar(name: &str, info: &TensorInfo) -> TensorInfo {
    let mut info = info.clone();
    if name == "temp" {
        info.shape.clear();
    }
    info
}
