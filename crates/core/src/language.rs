//! The frozen language model behind the bridge, and the step-wise view of any model that writes text.

use burn::tensor::Tensor;

use crate::layers::LowRank;
use crate::{KeptBeginnings, ModelError};

/// One text of a batch, split where the model starts to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextExample {
    /// Given ids: they follow the soft prompt and carry no loss. The encoder's input of an encoder-decoder model.
    pub prompt: Vec<u32>,
    /// Ids to predict, with the end-of-text id where the family trains one.
    pub target: Vec<u32>,
}

/// A piece of a prompt: pictures may stand anywhere between words.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a prompt has a handful of pieces: a box for each picture would save nothing"
)]
pub enum Segment {
    /// Ids of text.
    Ids(Vec<u32>),
    /// What the bridge made of a picture, `[queries, hidden]`.
    Soft(Tensor<2>),
}

impl Segment {
    /// Places that it takes in the text.
    pub fn places(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Soft(states) => states.dims()[0],
        }
    }
}

/// A linear layer that a low-rank update may stand beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptableLayer {
    /// As `transformers` calls the module: `model.decoder.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Width of what it reads.
    pub inputs: usize,
    /// Width of what it gives.
    pub outputs: usize,
}

/// A frozen language model that reads a soft prompt, as stage 2 needs it (paper section 3.3).
///
/// Decoder-only and encoder-decoder models differ inside of the implementation only. Loss and decoding let gradients
/// through to `soft_prompt`; the weights themselves get none.
pub trait LanguageModel: Send + Sync {
    /// SHA-256 over all weights as they are in memory ([`crate::weights::fingerprint`]): a frozen model keeps it, and stored
    /// features are known by it.
    fn fingerprint(&self) -> String;

    /// Width of the token embeddings: what the bridge has to project to.
    fn hidden_size(&self) -> usize;

    /// Standard deviation over all values of the token embeddings: the scale of what the model has learned to read, and
    /// that a soft prompt had better begin with.
    fn embedding_deviation(&self) -> f64;

    /// The embeddings `[ids, hidden]` of words, as the first layer reads them, in the number format of their table: what a soft
    /// prompt stands beside.
    ///
    /// # Errors
    /// [`ModelError::Vocabulary`] where an id lies outside of the vocabulary.
    fn word_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>, ModelError>;

    /// Number of rows of the output layer.
    fn vocabulary_size(&self) -> usize;

    /// Mean cross-entropy `[1]` over all target tokens of the batch, given `soft_prompt` `[batch, queries, hidden]` in
    /// front of each example (LAVIS `blip2_opt.py`, `blip2_t5.py`).
    ///
    /// # Errors
    /// [`ModelError`] where sizes disagree, an id lies outside of the vocabulary, no target is left, or a text is too long.
    fn loss(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<1>, ModelError>;

    /// The same where pictures and words take turns: `pairs` rows of `soft_prompt` and `examples` that follow each other are one text,
    /// in which each picture stands in front of its own prompt and target and behind those of the rows before. All targets are
    /// learned. With 1 it is [`LanguageModel::loss`]; a model that learns from one picture a text takes nothing else.
    ///
    /// # Errors
    /// As for [`LanguageModel::loss`]; [`ModelError::Invalid`] where the rows are no whole number of texts, or the model takes none
    /// of several pictures.
    fn interleaved_loss(
        &self,
        soft_prompt: Tensor<3>,
        examples: &[TextExample],
        pairs: usize,
    ) -> Result<Tensor<1>, ModelError> {
        match pairs {
            1 => self.loss(soft_prompt, examples),
            _ => Err(ModelError::Invalid(format!(
                "this language model learns from one picture a text, but a text of {pairs} was given: leave it at 1"
            ))),
        }
    }

    /// Logits `[batch, places, vocabulary]` at every place that the model predicts from: a decoder-only model behind each row
    /// of `soft_prompt` `[batch, queries, hidden]` and each token of prompt and target, an encoder-decoder model behind its
    /// start token and each token of the target. Shorter rows are padded on the right; what stands there means nothing.
    ///
    /// # Errors
    /// As for [`LanguageModel::loss`].
    fn logits(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<3>, ModelError>;

    /// The ids that stand in front of what is written behind `prompt`, in the model's own stream of output: what penalties
    /// count as written before. The prompt with a decoder-only model, the start token with an encoder-decoder model.
    fn history(&self, prompt: &[u32]) -> Vec<u32>;

    /// The linear layers that low-rank updates may stand beside ([`LanguageModel::adapted`]); none where the model takes none.
    fn adaptable_layers(&self) -> Vec<AdaptableLayer> {
        Vec::new()
    }

    /// The same model with `updates` beside the layers of these names. It shares its weights with this one, which stays as it is;
    /// gradients reach the updates.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where there is no such layer, or an update has other sizes.
    fn adapted(&self, updates: &[(String, LowRank)]) -> Result<Box<dyn LanguageModel>, ModelError> {
        let names: Vec<&str> = updates.iter().map(|(name, _)| name.as_str()).collect();
        Err(ModelError::Invalid(format!(
            "this language model takes no low-rank updates, but some are given for {}",
            names.join(", ")
        )))
    }

    /// Reads `soft_prompt` `[batch, queries, hidden]` and one prompt a row (of any lengths), ready to write the first token.
    ///
    /// # Errors
    /// As for [`LanguageModel::loss`].
    fn start(
        &self,
        soft_prompt: Tensor<3>,
        prompts: &[Vec<u32>],
    ) -> Result<Box<dyn NextTokenModel + '_>, ModelError>;

    /// No text yet, but a place where texts are written together, each from when it joins to when it is over. Where one begins
    /// as one before it did, what was made of that beginning may be used again: up to `remembered` bytes of it are kept.
    fn open(&self, remembered: usize) -> Box<dyn OpenTexts + '_>;
}

/// A text in the middle of being written: rows of cached states, and the scores of what may follow each.
pub trait NextTokenModel {
    /// Logits `[rows, vocabulary]` of the token that follows all that was fed.
    fn logits(&self) -> Tensor<2>;

    /// Feeds one token a row. New row `i` continues the old row `parents[i]` with `tokens[i]`: beams fan out, are reordered
    /// and dropped by the choice of `parents`, whose length is the new number of rows.
    ///
    /// # Errors
    /// [`ModelError`] where a parent or a token does not exist or the text outgrows the positions of the model.
    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError>;
}

/// Texts in the middle of being written, which others may join at any time ([`LanguageModel::open`]). A row that no parent of
/// [`NextTokenModel::advance`] names is over; without parents all rows are.
pub trait OpenTexts: NextTokenModel {
    /// Reads `prompt` and adds its row behind the others, ready to write the first token. What a row is given is that of
    /// [`LanguageModel::start`], up to rounding, whatever stands beside it.
    ///
    /// # Errors
    /// [`ModelError`] where the prompt is empty or too long, a soft prompt has another width, or an id lies outside of the
    /// vocabulary. The other rows are as before.
    fn admit(&mut self, prompt: &[Segment]) -> Result<(), ModelError>;

    /// Tokens that can be written behind `prompt`; `None` where there is no limit.
    fn room(&self, prompt: &[Segment]) -> Option<usize>;

    /// Places at the beginning of the prompt that was admitted last of which nothing was computed again; 0 where nothing is kept.
    fn reused(&self) -> usize {
        0
    }

    /// Gives away what was kept of beginnings, for texts that the same model opens later; nothing where it keeps none.
    fn release(&mut self) -> KeptBeginnings {
        KeptBeginnings::default()
    }

    /// Goes on with what texts of the same model kept ([`OpenTexts::release`]), as far as there is room for it here. What another
    /// model kept is dropped.
    fn recall(&mut self, _kept: KeptBeginnings) {}
}
