//! `Blip2ForConditionalGeneration`: every stage. Every text that `transformers` wrote with it, or with an InstructBLIP.

use blip2::{Blip2, GenerationConfig, HuggingFaceFolder};
use blip2_core::TextExample;
use blip2_golden::{Array, Check, Model, TensorFile, device, each, models, tolerance};
use blip2_llm_adapters::LanguageTokenizer;
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;

use crate::support::{load, picture};

const ARCHITECTURE: &str = "Blip2ForConditionalGeneration";
const INSTRUCTED: &str = "InstructBlipForConditionalGeneration";
/// What the decoder of an encoder-decoder model was given behind its start token when logits were recorded.
const DECODER_IDS: [u32; 2] = [5, 9];

/// The models of which texts were recorded. Of an InstructBLIP there may be logits alone.
fn writers() -> impl Iterator<Item = Model> {
    let instructed = models(INSTRUCTED).into_iter();
    let instructed = instructed.filter(|model| model.path.join("cases.json").is_file());
    models(ARCHITECTURE).into_iter().chain(instructed)
}

/// One text that the reference wrote.
struct Case {
    image: Value,
    prompt: String,
    /// As the language model gets them, image tokens included.
    input: Vec<u32>,
    parameters: Value,
    /// Without the input.
    written: Vec<u32>,
    text: String,
}

fn cases(model: &Model) -> Vec<Case> {
    let ids = |ids: &Value| -> Vec<u32> { serde_json::from_value(ids.clone()).unwrap() };
    let cases = model.json("cases.json");
    let cases = cases["generate"].as_array().unwrap().iter();
    cases
        .map(|case| {
            let (input, all) = (ids(&case["input_ids"]), ids(&case["ids"]));
            // An encoder-decoder model's output begins with its start token alone.
            let given = if decodes_alone(model) { input.len() } else { 1 };
            Case {
                image: case["image"].clone(),
                prompt: case["prompt"].as_str().unwrap().to_owned(),
                written: all[given..].to_vec(),
                input,
                parameters: case["params"].clone(),
                text: case["text"].as_str().unwrap().to_owned(),
            }
        })
        .collect()
}

fn decodes_alone(model: &Model) -> bool {
    model.config["use_decoder_only_language_model"].as_bool().unwrap()
}

/// The settings of `case`. Lengths of `transformers` count what the output begins with.
fn settings(model: &Model, case: &Case, blip2: &Blip2) -> GenerationConfig {
    let given = if decodes_alone(model) { case.input.len() } else { 1 };
    let mut settings = GenerationConfig {
        end_tokens: blip2.caption_settings().end_tokens.clone(),
        ..GenerationConfig::default()
    };
    for (name, value) in case.parameters.as_object().unwrap() {
        let count = || value.as_u64().unwrap() as usize;
        match name.as_str() {
            "num_beams" => settings.num_beams = count(),
            "num_return_sequences" => settings.num_return_sequences = count(),
            "early_stopping" => settings.early_stopping = serde_json::from_value(value.clone()).unwrap(),
            "max_length" => settings.max_new_tokens = count().saturating_sub(given),
            "max_new_tokens" => settings.max_new_tokens = count(),
            "min_new_tokens" => settings.min_new_tokens = count(),
            "min_length" => settings.min_new_tokens = count().saturating_sub(given),
            "no_repeat_ngram_size" => settings.no_repeat_ngram_size = count(),
            "length_penalty" => settings.length_penalty = value.as_f64().unwrap(),
            "repetition_penalty" => settings.repetition_penalty = value.as_f64().unwrap() as f32,
            "do_sample" => assert_eq!(value, false, "what is drawn at random cannot be compared"),
            other => panic!("the case asks for `{other}`"),
        }
    }
    settings
}

#[test]
fn every_stage_is_that_of_the_reference() {
    each(models(ARCHITECTURE), |model| {
        let (expected, cases) = (model.expected(), cases(&model));
        let blip2 = load(&model.path).unwrap();
        let mut check = model.check();
        for number in expected.stems(".vision") {
            let image = format!("image{number}.png");
            let case = cases.iter().find(|case| case.image == *image).unwrap();
            let trace = blip2
                .trace(&picture(&model.path, &case.image), &case.prompt)
                .unwrap();
            for (name, actual) in &trace {
                let recorded = expected.array(&format!("{number}.{name}"));
                if name == "logits" && !decodes_alone(&model) {
                    let first = Array {
                        shape: actual.shape().to_vec(),
                        values: recorded.values[..actual.num_elements()].to_vec(),
                    };
                    check.close(&format!("{name}/{number}"), actual, &first, tolerance::FEATURES);
                    check_decoder(&mut check, &model, &expected, number, case);
                } else {
                    check.close(
                        &format!("{name}/{number}"),
                        actual,
                        &recorded,
                        tolerance::FEATURES,
                    );
                }
            }
        }
    });
}

/// The logits behind more than the start token, from the soft prompt that was recorded.
fn check_decoder(check: &mut Check, model: &Model, expected: &TensorFile, number: &str, case: &Case) {
    let tokenizer = LanguageTokenizer::from_hugging_face(&model.path).unwrap();
    let folder = HuggingFaceFolder::open(&model.path).unwrap();
    let example = TextExample {
        prompt: tokenizer.encode_prompt(&case.prompt).unwrap(),
        target: DECODER_IDS.to_vec(),
    };
    let soft_prompt: Tensor<3> = expected.tensor(&format!("{number}.projected"));
    let language_model = folder.language_model(&device()).unwrap();
    let logits = language_model.logits(soft_prompt, &[example]).unwrap();
    let recorded = expected.array(&format!("{number}.logits"));
    check.close(
        &format!("logits of the decoder/{number}"),
        &logits,
        &recorded,
        tolerance::FEATURES,
    );
}

#[test]
fn every_prompt_has_the_ids_of_the_reference() {
    each(writers(), |model| {
        let tokenizer = LanguageTokenizer::from_hugging_face(&model.path).unwrap();
        let image_token = &model.config["image_token_index"];
        let mut check = model.check();
        for (number, case) in cases(&model).iter().enumerate() {
            let text: Vec<u32> = case
                .input
                .iter()
                .copied()
                .filter(|id| image_token != id)
                .collect();
            let actual = tokenizer.encode_prompt(&case.prompt).unwrap();
            check.identical(&format!("prompt ids/{number}"), &actual, &text);
        }
    });
}

#[test]
fn every_text_is_that_of_the_reference_alone_and_in_a_batch() {
    each(writers(), |model| {
        let (blip2, cases) = (load(&model.path).unwrap(), cases(&model));
        let mut check = model.check();
        for (number, case) in cases.iter().enumerate() {
            let pictures = [picture(&model.path, &case.image)];
            let settings = settings(&model, case, &blip2);
            let written = blip2
                .caption(&pictures, std::slice::from_ref(&case.prompt), &settings)
                .unwrap();
            check.identical(&format!("generated ids/{number}"), &written[0].ids, &case.written);
            // What the reference decodes begins with the prompt.
            let (text, whole) = (written[0].text.as_str(), case.text.trim());
            let expected = if whole.ends_with(text) { text } else { whole };
            check.identical(&format!("generated text/{number}"), &[text], &[expected]);
        }
        // Different pictures and prompts with the same settings at once.
        for first in &cases {
            let alike: Vec<&Case> = cases
                .iter()
                .filter(|case| case.parameters == first.parameters)
                .collect();
            if !std::ptr::eq(alike[0], first) {
                continue;
            }
            let settings: Vec<GenerationConfig> =
                alike.iter().map(|case| settings(&model, case, &blip2)).collect();
            let same: Vec<usize> = (0..alike.len())
                .filter(|index| settings[*index] == settings[0])
                .collect();
            let pictures: Vec<_> = same
                .iter()
                .map(|index| picture(&model.path, &alike[*index].image))
                .collect();
            let prompts: Vec<String> = same.iter().map(|index| alike[*index].prompt.clone()).collect();
            let together = blip2.caption(&pictures, &prompts, &settings[0]).unwrap();
            for (index, written) in same.into_iter().zip(together) {
                check.identical("generated ids/in a batch", &written.ids, &alike[index].written);
            }
        }
    });
}

#[test]
fn a_trace_holds_what_was_recorded_and_nothing_else() {
    each(models(ARCHITECTURE), |model| {
        let blip2 = load(&model.path).unwrap();
        let trace: Vec<(String, TensorData)> = blip2
            .trace(&picture(&model.path, &cases(&model)[0].image), "")
            .unwrap();
        let mut names: Vec<&str> = trace.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["logits", "pixel_values", "projected", "qformer", "vision"]
        );
    });
}
