//! What the files of a folder say where its Q-Former reads texts: an InstructBLIP of `transformers`, whatever the folder is that
//! it is made like.

use std::path::{Path, PathBuf};

use blip2_data::text::BertTokenizer;
use blip2_llm_adapters::LanguageTokenizer;
use blip2_qformer::RepresentationConfig;
use serde_json::{Value, json};

use crate::Blip2Error;
use crate::hugging_face::{CONFIG, QFORMER_TOKENIZER};
use crate::usage::Address;
use crate::vocabulary::check_vocabulary;

/// What describes the processor as a whole, and with it where the second tokenizer is.
const PROCESSOR_CONFIG: &str = "processor_config.json";
const PROCESSOR: &str = "InstructBlipProcessor";

/// Rows of the embeddings of texts, which the `config.json` of a BLIP-2 without text branch need not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextRows {
    /// Of words.
    pub(crate) words: usize,
    /// Of positions.
    pub(crate) positions: usize,
}

impl TextRows {
    /// `config` with these in the place of its own.
    pub(crate) fn put_into(self, config: &mut RepresentationConfig) {
        config.qformer.vocab_size = self.words;
        config.qformer.max_position_embeddings = self.positions;
    }
}

/// The reading of texts in a folder that is being written.
pub(crate) struct Instruction {
    tokenizer: BertTokenizer,
    pub(crate) rows: TextRows,
    /// How a model of ours is asked.
    address: Option<Address>,
    queries: usize,
    /// What stands for each query in a text, for a folder that does not say it.
    image_token: Option<u32>,
}

impl Instruction {
    /// With the Q-Former's `vocabulary`, in a folder like `like`.
    ///
    /// # Errors
    /// [`Blip2Error`] where one of the files cannot be read, or they do not belong together.
    pub(crate) fn new(
        like: &Path,
        vocabulary: &Path,
        rows: TextRows,
        address: Option<Address>,
    ) -> Result<Self, Blip2Error> {
        let tokenizer = BertTokenizer::from_file(vocabulary)?;
        check_vocabulary(vocabulary, &tokenizer, rows.words)?;
        let config = RepresentationConfig::from_hugging_face(&like.join(CONFIG))?;
        // A folder without tokenizer has no processor either, to which this would matter.
        let language = LanguageTokenizer::from_hugging_face(like).ok();
        Ok(Self {
            tokenizer,
            rows,
            address,
            queries: config.qformer.num_query_tokens,
            image_token: language.map(|tokenizer| tokenizer.placeholder()),
        })
    }

    /// Brings the content of the file `name` to what the new folder says; whether anything changes.
    pub(super) fn rewrite(&self, name: &str, file: &mut Value) -> bool {
        match name {
            CONFIG => self.configure(file),
            PROCESSOR_CONFIG => {
                file["processor_class"] = PROCESSOR.into();
                file["num_query_tokens"] = self.queries.into();
            }
            _ if file.get("processor_class").is_some() => file["processor_class"] = PROCESSOR.into(),
            _ => return false,
        }
        true
    }

    fn configure(&self, config: &mut Value) {
        config["model_type"] = "instructblip".into();
        config["architectures"] = json!(["InstructBlipForConditionalGeneration"]);
        for (part, model_type) in [
            ("vision_config", "instructblip_vision_model"),
            ("qformer_config", "instructblip_qformer"),
        ] {
            if !config[part].is_object() {
                config[part] = json!({});
            }
            config[part]["model_type"] = model_type.into();
        }
        let qformer = &mut config["qformer_config"];
        qformer["vocab_size"] = self.rows.words.into();
        qformer["max_position_embeddings"] = self.rows.positions.into();
        // Both are BLIP-2's alone: a switch for retrieval, and the width of what is contrasted there.
        remove(qformer, "use_qformer_text_input");
        remove(config, "image_text_hidden_size");
        let told = ["image_token_index", "image_token_id"];
        if let (Some(token), true) = (self.image_token, told.iter().all(|key| config[*key].is_null())) {
            config[told[0]] = token.into();
        }
        if let Some(address) = &self.address {
            config[Address::KEY] = json!(address);
        }
    }

    /// Files that take the place of those in `like`, or that it has not.
    ///
    /// # Errors
    /// [`Blip2Error::Text`] where the tokenizer cannot be written.
    pub(super) fn files(&self, like: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, Blip2Error> {
        let folder = Path::new(QFORMER_TOKENIZER);
        let longest = self.address.as_ref().map(|address| address.max_text_tokens);
        let tokenizer_config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": PROCESSOR,
            "bos_token": "[DEC]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "model_max_length": longest.unwrap_or(self.rows.positions),
        });
        let mut files = vec![
            (
                folder.join("tokenizer.json"),
                self.tokenizer.to_json()?.into_bytes(),
            ),
            (folder.join("tokenizer_config.json"), text(&tokenizer_config)),
        ];
        if !like.join(PROCESSOR_CONFIG).is_file() {
            let mut processor = json!({});
            self.rewrite(PROCESSOR_CONFIG, &mut processor);
            files.push((PROCESSOR_CONFIG.into(), text(&processor)));
        }
        Ok(files)
    }
}

fn remove(object: &mut Value, key: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(key);
    }
}

/// `value` as a file of JSON.
pub(super) fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
