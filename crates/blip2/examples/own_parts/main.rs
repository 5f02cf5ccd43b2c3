//! BLIP-2 of parts that are all defined here: an image encoder, a language model, pictures and captions. Both stages are
//! trained on 200 pictures, and the composed model captions one that it has not seen.
//!
//! ```sh
//! cargo run --release -p blip2 --example own_parts
//! ```

#![expect(clippy::print_stdout, reason = "what is learned is to be seen")]

mod encoder;
mod language_model;
mod pictures;

use std::slice::from_ref;

use anyhow::{Context, Result, bail, ensure};
use blip2::{Blip2, text_batch};
use blip2_core::{Initializer, LanguageModel, TextExample, VisionEncoder};
use blip2_data::pixels::{ImageProcessor, RgbImage};
use blip2_data::text::BertTokenizer;
use blip2_generation::GenerationConfig;
use blip2_llm_adapters::LanguageTokenizer;
use blip2_objectives::{NegativeSource, RepresentationOptions, language_modelling_loss, representation_loss};
use blip2_qformer::{Bridge, QFormerConfig, RepresentationConfig, RepresentationModel};
use blip2_trainer::{Optimizer, OptimizerConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use encoder::Patches;
use language_model::{Recurrent, words};
use pictures::{COLOURS, PLACES, SIDE, example};

/// Width of the image features, and of everything else.
pub(crate) const WIDTH: usize = 32;
const QUERIES: usize = 4;
const PICTURES: usize = 200;
const BATCH: usize = 20;

/// Steps of AdamW on what `loss` gives for step 0, 1, and so on; the mean of the last ten.
fn train<M: Module>(
    mut model: M,
    steps: usize,
    rate: f64,
    mut loss: impl FnMut(&M, usize) -> Result<Tensor<1>>,
) -> Result<(M, f64)> {
    let config = OptimizerConfig {
        betas: [0.9, 0.98],
        weight_decay: 0.01,
        clip_norm: Some(1.0),
        ema: None,
    };
    let mut optimizer = Optimizer::new();
    let mut last = Vec::new();
    for step in 0..steps {
        let loss = loss(&model, step)?;
        last.push(loss.clone().into_scalar::<f64>());
        let warm = ((step + 1) as f64 / 20.0).min(1.0);
        let down = 1.0 - 0.9 * step as f64 / steps as f64;
        (model, _) = optimizer.step(model, &loss.backward(), &config, &|_| rate * warm * down);
    }
    let end = &last[steps.saturating_sub(10)..];
    Ok((model, end.iter().sum::<f64>() / end.len() as f64))
}

/// Which examples step `step` sees: every one once in ten steps, each time in other company.
fn batch(step: usize) -> Vec<usize> {
    const STRIDES: [usize; 4] = [7, 11, 13, 17];
    let stride = STRIDES[step * BATCH / PICTURES % STRIDES.len()];
    (0..BATCH)
        .map(|index| (step * BATCH + index) * stride % PICTURES)
        .collect()
}

/// Teaches the language model, from text alone, to make a sentence of the words that stand in front of it in any order.
fn learn_language(
    model: Recurrent,
    tokenizer: &LanguageTokenizer,
    captions: &[String],
) -> Result<(Recurrent, f64)> {
    let ids = |text: &str| Ok::<_, anyhow::Error>(tokenizer.encode(text)?);
    train(model, 250, 6e-3, |model, step| {
        let (mut seen, mut examples) = (Vec::new(), Vec::new());
        for number in batch(step) {
            let caption = ids(&captions[number])?;
            // Colour, row and column, turned round by the step, and one of them twice.
            let said = [caption[1], caption[3], caption[4]];
            seen.extend((0..QUERIES).map(|query| said[(query + step + number) % said.len()]));
            examples.push(TextExample {
                prompt: Vec::new(),
                target: [&caption[..], &[tokenizer.end_of_text()]].concat(),
            });
        }
        let soft_prompt = model.word(&seen).reshape([BATCH, QUERIES, WIDTH]);
        Ok(model.loss(soft_prompt, &examples)?)
    })
}

fn main() -> Result<()> {
    let device = Device::flex();
    let training = device.clone().autodiff();
    let (pictures, captions): (Vec<RgbImage>, Vec<String>) = (0..PICTURES).map(example).unzip();

    let encoder = Patches::new(&mut Initializer::new(1, &device)).freeze();
    let processor = ImageProcessor::clip_square(SIDE as u32);
    let tokenizer = words()?;
    let language_model = Recurrent::new(&mut Initializer::new(2, &training), tokenizer.text_vocabulary());
    let (language_model, loss) = learn_language(language_model, &tokenizer, &captions)?;
    println!("language model: {loss:.3} nats a word");
    // From here on it is frozen, on the device without autodiff.
    let language_model = language_model.valid().freeze();
    let frozen = [encoder.fingerprint(), language_model.fingerprint()];

    let folder = std::env::temp_dir().join(format!("own-parts-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let vocabulary = folder.join("vocab.txt");
    let colours = COLOURS.map(|(name, _)| name).join("\n");
    let lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nsquare\ntop\nbottom\nleft\nright";
    std::fs::write(&vocabulary, format!("{lines}\n{colours}\n"))?;
    let bert = BertTokenizer::from_file(&vocabulary);
    std::fs::remove_dir_all(&folder)?;
    let bert = bert?;

    // The features of a frozen encoder never change: once is enough.
    let features = encoder.encode(processor.batch(&pictures, &device)?)?;
    let of = |numbers: &[usize]| {
        let numbers: Vec<i64> = numbers.iter().map(|number| *number as i64).collect();
        let numbers = TensorData::new(numbers, [BATCH]);
        features.clone().select(0, Tensor::from_data(numbers, &device))
    };

    // Stage 1: contrast, matching and generation.
    let sizes = RepresentationConfig {
        qformer: QFormerConfig {
            vocab_size: bert.vocabulary_size(),
            hidden_size: WIDTH,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 2 * WIDTH,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            max_position_embeddings: 16,
            initializer_range: 0.1,
            encoder_hidden_size: WIDTH,
            num_query_tokens: QUERIES,
            ..QFormerConfig::default()
        },
        embedding_size: 16,
        ..RepresentationConfig::default()
    };
    let model = RepresentationModel::new(&mut Initializer::new(3, &training), &sizes)?;
    let options = RepresentationOptions {
        start_token: bert.decode_id(),
        ..RepresentationOptions::default()
    };
    let (representation, loss) = train(model, 400, 3e-3, |model, step| {
        let numbers = batch(step);
        let texts: Vec<&String> = numbers.iter().map(|number| &captions[*number]).collect();
        let texts = text_batch(&bert, &texts, 16, &device)?;
        let mut draws = ChaCha8Rng::seed_from_u64(step as u64);
        let negatives = NegativeSource::Drawn(&mut draws);
        let losses = representation_loss(model, of(&numbers), &texts, &options, negatives)?;
        losses.terms.total().context("three terms have a weight")
    })?;
    println!("stage 1: {loss:.3}");

    // Stage 2: the language model reads what the queries say.
    let initializer = &mut Initializer::new(4, &training);
    let bridge = Bridge::from_representation(initializer, representation.clone(), WIDTH);
    let (bridge, loss) = train(bridge, 160, 4e-3, |bridge, step| {
        let numbers = batch(step);
        let examples = numbers.iter().map(|number| {
            let target = tokenizer.encode(&captions[*number])?;
            Ok(TextExample {
                prompt: Vec::new(),
                target: [&target[..], &[tokenizer.end_of_text()]].concat(),
            })
        });
        let examples = examples.collect::<Result<Vec<_>>>()?;
        Ok(language_modelling_loss(
            bridge,
            &language_model,
            of(&numbers),
            &examples,
        )?)
    })?;
    println!("stage 2: {loss:.3} nats a word");
    ensure!(
        frozen == [encoder.fingerprint(), language_model.fingerprint()],
        "a frozen part has changed"
    );

    let model = Blip2::from_parts(
        Box::new(encoder),
        bridge,
        Box::new(language_model),
        tokenizer,
        processor,
    )?
    .with_representation(representation, bert)?;
    let settings = GenerationConfig {
        max_new_tokens: 8,
        ..GenerationConfig::default()
    };
    let (mut right, mut matched) = (0, 0);
    // Variants that no training picture has.
    let unseen = PICTURES..PICTURES + COLOURS.len() * PLACES.len();
    for number in unseen.clone() {
        let (picture, caption) = example(number);
        let written = model.caption(from_ref(&picture), &[String::new()], &settings)?;
        let written = &written.first().context("one caption")?.text;
        // Its own caption, and that of the next picture, which differs in the colour.
        let texts = [caption.clone(), example(number + 1).1];
        let [own, other] = model.match_texts(&picture, &texts)?[..] else {
            bail!("two texts were matched");
        };
        println!(
            "{written:28} {}: {:.2}, {}: {:.2}",
            texts[0], own.itm_probability, texts[1], other.itm_probability
        );
        matched += usize::from(own.itm_probability > other.itm_probability);
        right += usize::from(*written == caption);
    }
    let all = unseen.len();
    println!("of {all}, {right} captions are right, {matched} pictures match their own text better");
    ensure!(2 * right > all, "most captions should be right");
    ensure!(3 * matched > 2 * all, "most pictures should match their own text");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_what_the_traits_ask_for() {
        let device = Device::flex();
        let encoder = Patches::new(&mut Initializer::new(1, &device));
        blip2_vision_encoder::conformance::check(&encoder, SIDE, SIDE, &device).unwrap();
        let language_model = Recurrent::new(&mut Initializer::new(2, &device), 12);
        blip2_llm_adapters::conformance::check(&language_model, &device).unwrap();
    }

    #[test]
    fn both_stages_learn_and_most_captions_are_right() {
        main().unwrap();
    }
}
