//! T5 1.1 and FlanT5 (Raffel et al., 2020; Chung et al., 2022), as BLIP-2 uses them (LAVIS `blip2_t5.py`).

mod config;
mod decoder;
mod encoder;
mod layer;
mod names;
mod position;
mod text;

use std::path::Path;

use blip2_core::layers::{Embedding, Linear};
use blip2_core::weights::{NameMap, TensorStore, WeightError, load, open_weights};
use blip2_core::{Initializer, LanguageModel, LoadPlan, ModelError, NextTokenModel, OpenTexts, TextExample};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};

pub use config::{GateActivation, T5Config};

use crate::batch::{check_context, embed, embed_behind, embed_words, hide_padding, list, longest, no_target};
use crate::config::language_model;
use crate::head::Head;
use crate::linears::{Linears, takes_updates};
use decoder::{Decoder, DecoderBeginning};
use encoder::Encoder;
pub(crate) use names::{HEAD, HUGGING_FACE};
use text::T5Text;

/// As errors call it.
const NAME: &str = "T5";
/// Places that a text may take. Distances have no limit, but scores of every place with every other one take their memory at once: at
/// this length, 4.3 GB in FlanT5-XXL. The family was trained on 512.
const POSITIONS: usize = 4096;

/// A frozen encoder-decoder language model of the T5 family.
///
/// The encoder reads the soft prompt and the prompt, which the original ends with `</s>`
/// ([`crate::LanguageTokenizer::encode_prompt`]), up to 4096 places of both; the decoder writes behind
/// [`T5Config::start_token`]. The weights live on a plain device, without autodiff.
#[derive(Module, Debug)]
pub struct T5 {
    shared: Embedding,
    encoder: Encoder,
    decoder: Decoder,
    lm_head: Option<Linear>,
    #[module(skip)]
    config: T5Config,
}

/// What the encoder made of a batch.
struct Encoded {
    /// `[batch, places, hidden]`.
    output: Tensor<3>,
    /// `[batch, 1, 1, places]`, `-inf` where a row has no token.
    padding: Option<Tensor<4>>,
}

impl T5 {
    /// A model with random weights, held as `plan` says on its device, which is used without autodiff.
    pub fn new(config: T5Config, seed: u64, plan: impl Into<LoadPlan>) -> Self {
        let initializer = &mut Initializer::new(seed, plan.into().frozen());
        let (vocabulary, width) = (config.vocabulary_size, config.hidden_size);
        let deviation = (width as f32).sqrt().recip();
        let model = Self {
            shared: Embedding::words(initializer, vocabulary, width, 1.0),
            encoder: Encoder::new(&config, initializer),
            decoder: Decoder::new(&config, initializer),
            lm_head: (!config.tied).then(|| Linear::unbiased(initializer, width, vocabulary, deviation)),
            config,
        };
        model.freeze()
    }

    /// Reads a Hugging Face folder: `config.json` and weights ([`open_weights`]) of the model alone, or of a larger one
    /// that has it as `text_config` and `language_model.`, and whose other parts are left unread. The output layer is the one
    /// that the weights hold, and the embedding only where they hold none, whatever the configuration says.
    ///
    /// # Errors
    /// [`WeightError`] where a file is missing or damaged, or the weights do not fit the configuration.
    pub fn from_hugging_face(folder: &Path, plan: impl Into<LoadPlan>) -> Result<Self, WeightError> {
        let file = open_weights(folder)?;
        let store = language_model(file.as_ref());
        let config = T5Config {
            tied: !store.tensors().contains_key(HEAD),
            ..T5Config::from_hugging_face(&folder.join("config.json"))?
        };
        let wanted = plan.into();
        let mut plan = wanted.resolve(&store);
        if wanted.dtype.is_none() && plan.dtype == Some(DType::F16) {
            // FlanT5 was trained in bfloat16; some of its states are too large for f16.
            plan.dtype = Some(DType::F32);
        }
        load(Self::new(config, 0, &plan), &store, &HUGGING_FACE, plan.options())
    }

    /// The sizes of this model.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    fn encode(&self, soft_prompt: Tensor<3>, prompts: Vec<&[u32]>) -> Result<Encoded, ModelError> {
        let queries = soft_prompt.dims()[1];
        let real: Vec<usize> = prompts.iter().map(|prompt| queries + prompt.len()).collect();
        check_context(NAME, queries + longest(&prompts), POSITIONS)?;
        let embeddings = embed_behind(soft_prompt, &prompts, (&self.shared).into())?;
        if real.contains(&0) {
            return Err(ModelError::Invalid(
                "an empty prompt without a soft prompt leaves the encoder nothing to read: give it a token"
                    .into(),
            ));
        }
        Ok(self.encode_embedded(embeddings, &real))
    }

    /// What the encoder makes of `embeddings` `[batch, places, width]`, where each row has as many `real` ones.
    fn encode_embedded(&self, embeddings: Tensor<3>, real: &[usize]) -> Encoded {
        let places = embeddings.dims()[1];
        let padding = hide_padding(real, places, &self.device());
        Encoded {
            output: self.encoder.forward(embeddings, padding.as_ref()),
            padding,
        }
    }

    /// The decoder's output `[batch, 1 + tokens, hidden]` behind the start token and `written`; `keep` gets what caches start from, but
    /// where layers are computed again.
    fn decode(
        &self,
        encoded: &Encoded,
        written: &[&[u32]],
        keep: impl FnMut(DecoderBeginning),
    ) -> Result<Tensor<3>, ModelError> {
        check_context(NAME, 1 + longest(written), POSITIONS)?;
        let start = embed(
            (&self.shared).into(),
            &vec![self.config.start_token; written.len()],
            written.len(),
        );
        let embeddings = embed_behind(start, written, (&self.shared).into())?;
        Ok(self
            .decoder
            .forward(embeddings, &encoded.output, encoded.padding.as_ref(), keep))
    }

    /// Logits `[rows, vocabulary]` of the decoder's output `[rows, hidden]`.
    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        Head::new(self.lm_head.as_ref(), &self.shared).logits(self.scaled(hidden))
    }

    fn scaled(&self, hidden: Tensor<2>) -> Tensor<2> {
        if self.config.scaled_output {
            hidden * (self.config.hidden_size as f64).sqrt().recip()
        } else {
            hidden
        }
    }

    fn device(&self) -> Device {
        self.shared.weight.lazy_device()
    }
}

impl Linears for T5 {
    const NAMES: NameMap = HUGGING_FACE;

    fn linears(&mut self) -> Vec<(String, &mut Linear)> {
        let mut linears = self.encoder.linears("encoder");
        linears.extend(self.decoder.linears("decoder"));
        linears
    }
}

impl LanguageModel for T5 {
    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn embedding_deviation(&self) -> f64 {
        self.shared.deviation()
    }

    fn word_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>, ModelError> {
        embed_words((&self.shared).into(), ids)
    }

    fn fingerprint(&self) -> String {
        blip2_core::weights::fingerprint(self)
    }

    fn vocabulary_size(&self) -> usize {
        self.config.vocabulary_size
    }

    fn loss(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<1>, ModelError> {
        let targets = || examples.iter().map(|example| &example.target);
        targets().try_for_each(|target| self.shared.check(target))?;
        // The last token is predicted, never read.
        let read: Vec<&[u32]> = targets()
            .map(|target| target.split_last().map_or(&[][..], |(_, read)| read))
            .collect();
        let labels: Vec<i64> = targets().flatten().map(|id| i64::from(*id)).collect();
        if labels.is_empty() {
            return Err(no_target());
        }
        let prompts = examples.iter().map(|example| example.prompt.as_slice());
        let encoded = self.encode(soft_prompt, prompts.collect())?;
        let hidden = self.decode(&encoded, &read, drop)?;
        let [batch, tokens, width] = hidden.dims();
        let rows = targets()
            .enumerate()
            .flat_map(|(row, target)| (0..target.len()).map(move |index| (row * tokens + index) as i64))
            .collect();
        let device = self.device();
        let labelled = hidden
            .reshape([batch * tokens, width])
            .select(0, list(rows, &device));
        let head = Head::new(self.lm_head.as_ref(), &self.shared);
        Ok(head.cross_entropy(self.scaled(labelled), list(labels, &device)))
    }

    fn logits(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<3>, ModelError> {
        let prompts = examples.iter().map(|example| example.prompt.as_slice());
        let encoded = self.encode(soft_prompt, prompts.collect())?;
        let written: Vec<&[u32]> = examples.iter().map(|example| example.target.as_slice()).collect();
        let hidden = self.decode(&encoded, &written, drop)?;
        let [batch, tokens, width] = hidden.dims();
        let logits = self.head(hidden.reshape([batch * tokens, width]));
        Ok(logits.reshape([batch, tokens, self.config.vocabulary_size]))
    }

    fn history(&self, _prompt: &[u32]) -> Vec<u32> {
        vec![self.config.start_token]
    }

    takes_updates!();

    fn start(
        &self,
        soft_prompt: Tensor<3>,
        prompts: &[Vec<u32>],
    ) -> Result<Box<dyn NextTokenModel + '_>, ModelError> {
        let queries = soft_prompt.dims()[1];
        let real = prompts.iter().map(|prompt| queries + prompt.len()).collect();
        let encoded = self.encode(soft_prompt, prompts.iter().map(Vec::as_slice).collect())?;
        let mut text = T5Text::new(self);
        text.join(&encoded, real)?;
        Ok(Box::new(text))
    }

    /// Nothing is kept of beginnings: the encoder reads in both directions, so that what it makes of one depends on all behind it.
    fn open(&self, _remembered: usize) -> Box<dyn OpenTexts + '_> {
        Box::new(T5Text::new(self))
    }
}
