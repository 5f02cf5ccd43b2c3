//! Language models behind a soft prompt, as `transformers` computes them: logits, loss, and what beam search writes.

use blip2_core::{LanguageModel, TextExample};
use blip2_generation::{GenerationConfig, generate};
use blip2_golden::{Check, Model, TensorFile, device, each, models, tolerance};
use blip2_llm_adapters::{Opt, T5, from_hugging_face};
use burn::tensor::Tensor;

struct Golden {
    expected: TensorFile,
    check: Check,
    prefix: Tensor<3>,
    /// The ids of each row without padding.
    texts: Vec<Vec<u32>>,
}

impl Golden {
    fn open(model: &Model) -> Self {
        let expected = model.expected();
        Self {
            check: model.check(),
            prefix: expected.tensor("prefix_embeds"),
            texts: expected.texts("input_ids", "attention_mask"),
            expected,
        }
    }

    /// Compares the first places of each row of `actual` `[batch, places, vocabulary]`, as many as are `real`, with those of
    /// the reference that are no padding.
    fn check_logits(&mut self, actual: Tensor<3>, real: &[Vec<usize>]) {
        let [_, places, vocabulary] = actual.dims();
        let actual: Vec<f64> = actual.into_data().iter().collect();
        let expected = self.expected.array("logits");
        for (row, real) in real.iter().enumerate() {
            let ours = &actual[row * places * vocabulary..][..real.len() * vocabulary];
            let theirs: Vec<f64> = real
                .iter()
                .flat_map(|place| {
                    &expected.values[(row * expected.shape[1] + place) * vocabulary..][..vocabulary]
                })
                .copied()
                .collect();
            self.check
                .close(&format!("logits/{row}"), ours, &theirs, tolerance::FEATURES);
        }
    }

    fn check_loss(&mut self, model: &dyn LanguageModel, examples: &[TextExample]) {
        let loss = model.loss(self.prefix.clone(), examples).unwrap();
        let expected = self.expected.array("loss");
        self.check.close("loss", &loss, &expected, tolerance::LOSS);
    }

    /// A decoder-only model: logits at every real place, and the loss of the texts behind the prefix.
    fn check_decoder(&mut self, model: &dyn LanguageModel) {
        let masks = self.expected.ids("attention_mask");
        let real: Vec<Vec<usize>> = masks.iter().map(|mask| real(mask)).collect();
        let examples: Vec<TextExample> = self
            .texts
            .iter()
            .map(|text| TextExample {
                prompt: Vec::new(),
                target: text.clone(),
            })
            .collect();
        self.check_logits(model.logits(self.prefix.clone(), &examples).unwrap(), &real);
        self.check_loss(model, &examples);
    }
}

/// The places that a mask calls real.
fn real(mask: &[u32]) -> Vec<usize> {
    (0..mask.len()).filter(|place| mask[*place] == 1).collect()
}

/// Decoder-only families, each with folders of its own.
fn decoders() -> impl Iterator<Item = Model> {
    [
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "Gemma3ForCausalLM",
    ]
    .into_iter()
    .flat_map(models)
}

#[test]
fn decoders_agree_with_the_reference() {
    each(decoders(), |model| {
        let decoder = from_hugging_face(&model.path, &device()).unwrap();
        Golden::open(&model).check_decoder(decoder.as_ref());
    });
}

#[test]
fn opt_agrees_with_the_reference() {
    each(models("OPTForCausalLM"), |model| {
        let opt = Opt::from_hugging_face(&model.path, &device()).unwrap();
        Golden::open(&model).check_decoder(&opt);
    });
}

#[test]
fn t5_agrees_with_the_reference_with_either_gelu() {
    each(models("T5ForConditionalGeneration"), |model| {
        let t5 = T5::from_hugging_face(&model.path, &device()).unwrap();
        let mut golden = Golden::open(&model);
        let labels = golden.expected.integers("labels");
        let targets: Vec<Vec<u32>> = labels
            .chunks(labels.len() / golden.texts.len())
            .map(|row| row.iter().filter(|id| **id >= 0).map(|id| *id as u32).collect())
            .collect();
        let real: Vec<Vec<usize>> = targets.iter().map(|target| (0..target.len()).collect()).collect();
        let examples: Vec<TextExample> = golden
            .texts
            .iter()
            .zip(targets)
            .map(|(prompt, target)| TextExample {
                prompt: prompt.clone(),
                target,
            })
            .collect();
        // Behind the last target nothing was asked.
        let read: Vec<TextExample> = examples
            .iter()
            .map(|example| TextExample {
                target: example.target[..example.target.len() - 1].to_vec(),
                ..example.clone()
            })
            .collect();
        golden.check_logits(t5.logits(golden.prefix.clone(), &read).unwrap(), &real);
        golden.check_loss(&t5, &examples);
    });
}

#[test]
fn beam_search_writes_what_the_reference_writes() {
    each(decoders(), |model| {
        let decoder = from_hugging_face(&model.path, &device()).unwrap();
        let mut golden = Golden::open(&model);
        for beams in golden.expected.stems("_ids") {
            let Some(beams) = beams.strip_prefix("beam") else {
                continue;
            };
            let expected = golden.expected.ids(&format!("beam{beams}_ids"));
            let rows = expected.len();
            let end = model.config["eos_token_id"].as_u64().map(|id| id as u32);
            let settings = GenerationConfig {
                num_beams: beams.parse().unwrap(),
                max_new_tokens: expected[0].len(),
                end_tokens: end.into_iter().collect(),
                ..Default::default()
            };
            let prompts = &golden.texts[..rows];
            let mut text = decoder
                .start(golden.prefix.clone().narrow(0, 0, rows), prompts)
                .unwrap();
            let written = generate(text.as_mut(), prompts, &settings, None).unwrap();
            for (row, (written, expected)) in written.iter().zip(&expected).enumerate() {
                // Behind its end the reference pads a text.
                let expected = expected.split_inclusive(|id| Some(*id) == end).next().unwrap();
                let what = format!("beam{beams}_ids/{row}");
                golden.check.identical(&what, &written.ids, expected);
            }
        }
    });
}
