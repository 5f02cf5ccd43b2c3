//! From a folder to a model that is ready to use.

use std::cell::OnceCell;
use std::path::Path;

use blip2_core::layers::{Packing, with_packing};
use blip2_objectives::Bridge;
use burn::tensor::Device;

use crate::folder::{load_bridge, load_representation};
use crate::frozen::load_vocabulary;
use crate::hugging_face::{self, HuggingFaceFolder, HuggingFaceKind};
use crate::model::{LanguageBridge, Representation};
use crate::usage::Usage;
use crate::{
    BRIDGE, Blip2, Blip2Error, CONFIG, REPRESENTATION, answer_settings, caption_settings, load_encoder,
    locate, model_folder, read_config,
};

impl Blip2 {
    /// Loads the model in `folder`: a folder that `transformers` wrote (`Blip2ForConditionalGeneration`,
    /// `InstructBlipForConditionalGeneration`, `Blip2ForImageTextRetrieval`), or the name of one in the Hugging Face cache
    /// ([`locate`]); or a model or run folder of our own, with the frozen models that it names under `home`.
    ///
    /// # Errors
    /// [`Blip2Error`] names the file at fault: the folder is no model, a frozen model is absent or damaged, or weights do
    /// not fit.
    pub fn from_pretrained(folder: &Path, home: &Path, device: &Device) -> Result<Self, Blip2Error> {
        Self::from_pretrained_packed(folder, home, device, None)
    }

    /// As [`Blip2::from_pretrained`], with the linear layers of the frozen models packed while they are read; those of a Q-Former
    /// that `transformers` wrote, in bfloat16.
    ///
    /// # Errors
    /// As for [`Blip2::from_pretrained`].
    pub fn from_pretrained_packed(
        folder: &Path,
        home: &Path,
        device: &Device,
        packing: Option<Packing>,
    ) -> Result<Self, Blip2Error> {
        let folder = locate(folder, None)?;
        let device = device.clone().inner();
        match model_folder(&folder) {
            Ok(folder) => trained_here(&folder, home, &device, packing),
            Err(_) if folder.join(hugging_face::CONFIG).is_file() => {
                from_hugging_face(&folder, &device, packing)
            }
            Err(error) => Err(error),
        }
    }
}

fn trained_here(
    folder: &Path,
    home: &Path,
    device: &Device,
    packing: Option<Packing>,
) -> Result<Blip2, Blip2Error> {
    let config = read_config(folder)?;
    let refuse = |reason: String| Blip2Error::Config {
        path: folder.join(CONFIG),
        reason,
    };
    let bridge = load_bridge(folder, &config, device)?;
    let representation = match load_representation(folder, &config, device)? {
        Some(model) => Some(Representation {
            model,
            tokenizer: load_vocabulary(&config, home)?,
            writes: true,
        }),
        None => None,
    };
    if bridge.is_none() && representation.is_none() {
        return Err(refuse(format!(
            "beside it stands neither {REPRESENTATION} nor {BRIDGE}: the folder is incomplete"
        )));
    }
    let encoder = with_packing(packing, || load_encoder(&config.encoder, home, device))?;
    let (width, expected) = (
        encoder.encoder.width(),
        config.representation.qformer.encoder_hidden_size,
    );
    if width != expected {
        return Err(refuse(format!(
            "the Q-Former reads features of width {expected}, but the encoder's are {width} wide"
        )));
    }
    Ok(Blip2 {
        folder: folder.to_owned(),
        device: device.clone(),
        encoder,
        representation,
        bridge: bridge.map(|bridge| LanguageBridge {
            bridge,
            instructions: None,
            path: home.join(&config.language_model.path),
            packing,
            language_model: OnceCell::new(),
        }),
        usage: Usage {
            caption_prompt: config.language_model.prompt,
            question_prompt: config.language_model.question_prompt,
            trained_here: true,
            max_text_tokens: config.max_text_tokens,
            image_token: None,
            captions: caption_settings(),
            answers: answer_settings(),
        },
    })
}

fn from_hugging_face(path: &Path, device: &Device, packing: Option<Packing>) -> Result<Blip2, Blip2Error> {
    let folder = HuggingFaceFolder::open(path)?;
    folder.check()?;
    // What was trained is small: it is kept in bfloat16, whatever the frozen models are packed in.
    let trained = packing.map(|_| Packing::Bf16);
    let (mut representation, mut bridge) = (None, None);
    let behind = |bridge: Bridge, instructions| LanguageBridge {
        bridge,
        instructions,
        path: path.to_owned(),
        packing,
        language_model: OnceCell::new(),
    };
    let load_bridge = || with_packing(trained, || folder.bridge(device));
    match folder.kind() {
        HuggingFaceKind::Generation => bridge = Some(behind(load_bridge()?, None)),
        HuggingFaceKind::Instruction => {
            bridge = Some(behind(load_bridge()?, Some(folder.qformer_tokenizer()?)));
        }
        HuggingFaceKind::Retrieval => {
            representation = Some(Representation {
                model: with_packing(trained, || folder.representation(device))?,
                tokenizer: folder.qformer_tokenizer()?,
                writes: false,
            });
        }
    }
    Ok(Blip2 {
        folder: path.to_owned(),
        device: device.clone(),
        encoder: with_packing(packing, || folder.loaded_encoder(device))?,
        representation,
        bridge,
        usage: Usage::of_hugging_face(path, folder.question_prompt()?)?,
    })
}
