//! Captioning behind OPT with a prompt that carries no loss, and prefix language modelling behind FlanT5, both with an encoder that is
//! trained.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use blip2::{LanguageModelConfig, LoadedLanguageModel};
use blip2_core::weights::{LoadOptions, NameMap, TensorStore, load, write_safetensors};
use blip2_core::{Initializer, TextExample};
use blip2_data::text::caption;
use blip2_distributed::Communicator;
use blip2_golden::{device, find, tolerance};
use blip2_llm_adapters::load_language_model;
use blip2_objectives::SumOrder;
use blip2_qformer::{Bridge, LAVIS_OPT_BRIDGE, LAVIS_T5_BRIDGE};
use blip2_trainer::{Batch, GenerativeObjective, Objective, Prompts, Row, StepContext};
use burn::tensor::Tensor;
use serde_json::{Value, json};

use super::{Run, Whole, list, number, numbers, text};
use crate::case::qformer_config;

/// What LAVIS has in the place of what is not to be predicted.
const IGNORED: i64 = -100;

fn step() -> StepContext<'static> {
    StepContext {
        step: 1,
        seed: 0,
        part: 0,
        parts: 1,
        ranks: Communicator::alone(),
        order: SumOrder::Free,
    }
}

/// Rows of equal length.
fn padded(rows: impl IntoIterator<Item = Vec<i64>>, length: usize, with: i64) -> Vec<i64> {
    let fill = |mut row: Vec<i64>| {
        row.resize(length, with);
        row
    };
    rows.into_iter().flat_map(fill).collect()
}

fn wide(ids: &[u32]) -> impl Iterator<Item = i64> {
    ids.iter().map(|id| i64::from(*id))
}

impl Run {
    /// The language model's part of the weights, with its vocabulary, as a Hugging Face folder of its own.
    fn language_model(&self, family: &str, vocabulary: &[(&str, &str)], ids: Value) -> LoadedLanguageModel {
        let folder = tempfile::tempdir().expect("folder");
        for (from, to) in vocabulary {
            let file =
                find(&format!("lavis-finetune/{from}")).expect("a vocabulary beside the recorded runs");
            fs::copy(file, folder.path().join(to)).expect("copied");
        }
        let prefix = format!("{family}_model.");
        let names = self.weights.tensors().keys();
        let tensors: Vec<_> = names
            .filter_map(|name| Some((name, name.strip_prefix(&prefix)?)))
            .map(|(name, short)| (short.to_owned(), self.weights.read(name).expect("tensor")))
            .collect();
        let file = folder.path().join("model.safetensors");
        write_safetensors(&file, &tensors, HashMap::new()).expect("weights");
        let embedding = tensors
            .iter()
            .find(|(name, _)| name.ends_with("shared.weight") || name.ends_with("embed_tokens.weight"));
        let mut config = self.sizes[family].clone();
        config["model_type"] = json!(family);
        config["vocab_size"] = json!(embedding.expect("an embedding").1.shape()[0]);
        for (key, id) in ids.as_object().expect("ids") {
            config[key] = id.clone();
        }
        write_config(folder.path(), &config);
        load_language_model(folder.path(), &device()).expect("a language model")
    }

    fn bridge(&self, names: &NameMap, hidden_size: usize) -> Bridge {
        let config = qformer_config(&self.sizes, &self.weights);
        let mut initializer = Initializer::new(0, &device().autodiff());
        let epsilon = number(&self.sizes["ln_vision_eps"]);
        let bridge = Bridge::new(&mut initializer, &config, epsilon, hidden_size).expect("bridge");
        load(bridge, &self.weights, names, LoadOptions::default()).expect("weights")
    }

    /// Loss and gradients of `rows`, from texts to the encoder.
    fn compare(&mut self, language_model: &LoadedLanguageModel, rows: Vec<Row>, most: usize, names: NameMap) {
        let config = LanguageModelConfig {
            path: "recorded".into(),
            model_type: None,
            prompt: text(&self.sizes["prompt"]).to_owned(),
            question_prompt: String::new(),
        };
        let prompts = Prompts::new(&config, &language_model.tokenizer);
        let objective = GenerativeObjective {
            language_model,
            prompts: &prompts,
            max_text_tokens: Some(most),
            reader: None,
            interleaved: 1,
        };
        let before = language_model.model.fingerprint();
        let bridge = self.bridge(&names, language_model.model.hidden_size());
        let whole = self.unfrozen(bridge);
        self.close("vit_features", &whole.seen(), tolerance::FEATURES);
        let projected = whole.model.soft_prompt(whole.seen()).expect("a soft prompt");
        self.close("projected", &projected, tolerance::FEATURES);

        let batch = Batch {
            features: Tensor::zeros([rows.len(), 1, 1], &device().autodiff()),
            rows,
        };
        let terms = objective.terms(&whole, &batch, &step()).expect("a loss");
        let loss = terms.total().expect("a weight");
        self.close("loss", &loss, tolerance::LOSS);
        let reported = [number(&self.report["loss"])];
        self.check
            .close("reported/loss", &loss, reported.as_slice(), tolerance::LOSS);
        let of = |whole: &Whole<Bridge>| {
            let made = objective.gradients(whole, &batch, &step());
            made.expect("gradients").gradients
        };
        self.compare_gradients(&whole, of, names.rename, |_| ());
        self.compare_groups(&whole, Some(&whole.encoder), names.rename);
        // Whether the language model was given a gradient.
        let changed = language_model.model.fingerprint() != before;
        let theirs = self.report["llm_gradient"].as_bool();
        self.check.identical("llm_gradient", &[Some(changed)], &[theirs]);
    }

    /// How many tokens each example has to predict.
    fn compare_targets(&mut self, examples: &[TextExample]) {
        let targets: Vec<f64> = examples
            .iter()
            .map(|example| example.target.len() as f64)
            .collect();
        let theirs = numbers(&self.report["supervised_tokens"]);
        self.check.identical("supervised_tokens", &targets, &theirs);
    }

    fn caption(mut self) {
        let vocabulary = find("lavis-finetune/opt-vocab.json").expect("a vocabulary");
        let words: Value =
            serde_json::from_slice(&fs::read(vocabulary).expect("readable")).expect("a vocabulary");
        let ids = json!({
            "bos_token_id": words["</s>"], "eos_token_id": words["</s>"], "pad_token_id": words["<pad>"],
        });
        let files = [("opt-vocab.json", "vocab.json"), ("opt-merges.txt", "merges.txt")];
        let language_model = self.language_model("opt", &files, ids);
        let tokenizer = &language_model.tokenizer;
        self.check.identical(
            "newline_id",
            &[f64::from(tokenizer.end())],
            &[number(&self.report["newline_id"])],
        );
        let prompt = text(&self.sizes["prompt"]).to_owned();
        let rows: Vec<Row> = list(&self.report["raw_captions"])
            .iter()
            .map(|raw| Row {
                text: caption(text(raw), ""),
                ..Row::default()
            })
            .collect();
        let whole: Vec<String> = rows.iter().map(|row| format!("{prompt} {}", row.text)).collect();
        let theirs = list(&self.report["text_input"]);
        let theirs: Vec<String> = theirs.iter().map(|words| text(words).to_owned()).collect();
        self.check.identical("text_input", &whole, &theirs);

        let most = number(&self.sizes["max_txt_len_opt"]) as usize;
        let config = LanguageModelConfig {
            path: "recorded".into(),
            model_type: None,
            prompt,
            question_prompt: String::new(),
        };
        let prompts = Prompts::new(&config, tokenizer);
        let examples: Vec<TextExample> = rows
            .iter()
            .map(|row| prompts.example(row, Some(most)).expect("ids"))
            .collect();
        self.compare_captions("", &examples);
        self.compare_targets(&examples);
        let cut: Vec<Option<bool>> = examples
            .iter()
            .map(|example| Some(example.target.last() != Some(&tokenizer.end())))
            .collect();
        let theirs: Vec<Option<bool>> = list(&self.report["truncated"])
            .iter()
            .map(Value::as_bool)
            .collect();
        self.check.identical("truncated", &cut, &theirs);

        // Where the text lacks the prompt, its own beginning carries no loss instead.
        let hidden = self.io.number("prompt_length") as usize;
        let lengths: Vec<f64> = examples
            .iter()
            .map(|example| example.prompt.len() as f64)
            .collect();
        self.check
            .identical("prompt_length", &lengths, &vec![hidden as f64; examples.len()]);
        let reported = number(&self.report["prompt_length"]);
        self.check
            .identical("reported/prompt_length", &[hidden as f64], &[reported]);
        let texts = self.io.texts("noprompt.input_ids", "noprompt.attention_mask");
        let lacking: Vec<TextExample> = texts
            .into_iter()
            .map(|mut text| TextExample {
                // A text that is shorter than the prompt teaches nothing.
                target: text.split_off(hidden.min(text.len())),
                prompt: text,
            })
            .collect();
        self.compare_captions("noprompt.", &lacking);
        let bridge = self.bridge(&LAVIS_OPT_BRIDGE, language_model.model.hidden_size());
        let whole = self.unfrozen(bridge);
        let soft_prompt = whole.model.soft_prompt(whole.seen()).expect("a soft prompt");
        let loss = language_model.model.loss(soft_prompt, &lacking).expect("a loss");
        self.close("noprompt.loss", &loss, tolerance::LOSS);
        let reported = [number(&self.report["loss_if_the_text_lacks_the_prompt"])];
        self.check.close(
            "reported/noprompt.loss",
            &loss,
            reported.as_slice(),
            tolerance::LOSS,
        );

        self.compare(&language_model, rows, most, LAVIS_OPT_BRIDGE);
    }

    /// Ids, masks and labels of `examples` behind the queries.
    fn compare_captions(&mut self, start: &str, examples: &[TextExample]) {
        let name = |name: &str| format!("{start}{name}");
        let length = self.io.shape(&name("input_ids"))[1];
        let queries = self.io.shape("projected")[1];
        let whole = |example: &TextExample| [&example.prompt[..], &example.target].concat();
        let texts: Vec<Vec<u32>> = examples.iter().map(whole).collect();
        let theirs = self.io.texts(&name("input_ids"), &name("attention_mask"));
        self.check.identical(&name("input_ids"), &texts, &theirs);
        let real = |front: usize| texts.iter().map(move |text| vec![1; front + text.len()]);
        let masks = padded(real(0), length, 0);
        self.check.identical(
            &name("attention_mask"),
            &masks,
            &self.io.integers(&name("attention_mask")),
        );
        if self.io.has(&name("full_attention_mask")) {
            let masks = padded(real(queries), queries + length, 0);
            let theirs = self.io.integers(&name("full_attention_mask"));
            self.check
                .identical(&name("full_attention_mask"), &masks, &theirs);
        }
        let labels = examples.iter().map(|example| {
            let mut row = vec![IGNORED; queries + example.prompt.len()];
            row.extend(wide(&example.target));
            row
        });
        let labels = padded(labels, queries + length, IGNORED);
        self.check
            .identical(&name("labels"), &labels, &self.io.integers(&name("labels")));
    }

    fn prefix(mut self) {
        let language_model = self.language_model("t5", &[("t5-tokenizer.json", "tokenizer.json")], json!({}));
        let texts = |name: &str| -> Vec<String> {
            list(&self.report[name])
                .iter()
                .map(|words| text(words).to_owned())
                .collect()
        };
        let pairs = texts("text_input").into_iter().zip(texts("text_output"));
        let rows: Vec<Row> = pairs
            .map(|(input, output)| Row {
                prompt: Some(input),
                text: output,
                ..Row::default()
            })
            .collect();
        let most = number(&self.sizes["max_txt_len_t5"]) as usize;
        let config = LanguageModelConfig {
            path: "recorded".into(),
            model_type: None,
            prompt: String::new(),
            question_prompt: String::new(),
        };
        let prompts = Prompts::new(&config, &language_model.tokenizer);
        let examples: Vec<TextExample> = rows
            .iter()
            .map(|row| prompts.example(row, Some(most)).expect("ids"))
            .collect();
        let (mut prefixes, mut suffixes) = (Vec::new(), Vec::new());
        for example in &examples {
            prefixes.push(example.prompt.clone());
            suffixes.push(example.target.clone());
        }
        for (part, ours) in [("prefix", &prefixes), ("suffix", &suffixes)] {
            let (ids, mask) = (format!("{part}_ids"), format!("{part}_mask"));
            self.check.identical(&ids, ours, &self.io.texts(&ids, &mask));
        }
        self.compare_targets(&examples);
        let queries = self.io.shape("projected")[1];
        let width = self.io.shape("encoder_mask")[1];
        let masks = prefixes.iter().map(|prefix| vec![1; queries + prefix.len()]);
        let masks = padded(masks, width, 0);
        self.check
            .identical("encoder_mask", &masks, &self.io.integers("encoder_mask"));
        let length = self.io.shape("labels")[1];
        let labels = padded(suffixes.iter().map(|ids| wide(ids).collect()), length, IGNORED);
        self.check
            .identical("labels", &labels, &self.io.integers("labels"));
        self.compare(&language_model, rows, most, LAVIS_T5_BRIDGE);
    }
}

fn write_config(folder: &Path, config: &Value) {
    fs::write(folder.join("config.json"), config.to_string()).expect("configuration");
}

#[test]
fn captioning_behind_opt_equals_lavis() {
    Run::each("caption-opt", Run::caption);
}

#[test]
fn prefix_language_modelling_behind_t5_equals_lavis() {
    Run::each("prefix-t5", Run::prefix);
}
