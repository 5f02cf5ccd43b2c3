//! The same global batch in as many parts on one, two and four ranks, which are threads here: losses, gradients, what travels.

use std::collections::{BTreeMap, BTreeSet};

use blip2_core::{Initializer, LanguageModel, TextExample};
use blip2_distributed::{Communicator, Threads, Traffic, WATCHDOG};
use blip2_golden::fixture;
use blip2_llm_adapters::load_language_model;
use blip2_objectives::{
    NegativeSource, Negatives, RepresentationOptions, StepGradients, SumOrder, Terms, language_modelling_loss,
};
use blip2_qformer::Bridge;
use blip2_trainer::{Batch, Objective, StepContext, TrainError, representation_gradients};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::gradients::{ByPath, assert_equal_bits, assert_near, gradients};
use crate::tiny;

const BATCH: usize = 32;
const PARTS: usize = 8;
const SIZES: [usize; 3] = [1, 2, 4];

fn device() -> Device {
    Device::flex().autodiff()
}

/// The rows of a rank.
fn share(ranks: &Communicator) -> std::ops::Range<usize> {
    let rows = BATCH / ranks.size();
    ranks.rank() * rows..(ranks.rank() + 1) * rows
}

fn batch(ranks: &Communicator) -> Batch {
    let rows = share(ranks);
    Batch {
        rows: vec![Default::default(); rows.len()],
        features: tiny::features(BATCH, &device()).narrow(0, rows.start, rows.len()),
    }
}

fn context(ranks: &Communicator, order: SumOrder) -> StepContext<'_> {
    StepContext {
        step: 3,
        seed: 5,
        part: 0,
        parts: PARTS,
        ranks,
        order,
    }
}

/// What a rank has after a step.
struct Outcome {
    terms: BTreeMap<&'static str, f32>,
    gradients: ByPath,
    traffic: Traffic,
}

impl Outcome {
    fn new<M: Module>(model: &M, step: &StepGradients, ranks: &Communicator) -> Self {
        let terms = step.terms.iter();
        Self {
            terms: terms
                .map(|term| (term.name, term.value.clone().into_scalar::<f32>()))
                .collect(),
            gradients: gradients(model, &step.gradients),
            traffic: ranks.traffic(),
        }
    }
}

/// A step of stage 1 on `size` ranks.
fn stage1(size: usize, order: SumOrder, given: Option<&Negatives>) -> Vec<Outcome> {
    Threads::run(size, WATCHDOG, |ranks| {
        let model = tiny::model(&tiny::config(), &device());
        let options = RepresentationOptions {
            start_token: tiny::config().qformer.vocab_size as u32 - 1,
            ..RepresentationOptions::default()
        };
        let texts = &tiny::rows(BATCH)[share(&ranks)];
        let mut generator = ChaCha8Rng::seed_from_u64(3);
        let negatives = match given {
            Some(negatives) => NegativeSource::Given(negatives.clone()),
            None => NegativeSource::Drawn(&mut generator),
        };
        let context = context(&ranks, order);
        let step = representation_gradients(
            &model,
            &options,
            &batch(&ranks),
            (texts, None),
            negatives,
            &context,
        );
        Outcome::new(&model, &step.expect("a step"), &ranks)
    })
}

/// Language modelling behind a bridge, on rows that only their place in the batch tells apart.
struct Captions<'a> {
    language_model: &'a dyn LanguageModel,
}

impl Objective<Bridge> for Captions<'_> {
    fn terms(&self, model: &Bridge, batch: &Batch, context: &StepContext<'_>) -> Result<Terms, TrainError> {
        let rows = batch.rows.len();
        let words = |from: usize, length: usize| (0..length).map(move |place| 4 + (from + place) as u32 % 20);
        let examples: Vec<TextExample> = (0..rows)
            .map(|row| context.part * rows + row)
            .map(|row| TextExample {
                prompt: words(row, 2 + row % 3).collect(),
                target: words(row + 7, 3 + row % 4).collect(),
            })
            .collect();
        let features = batch.features.clone();
        let mut terms = Terms::default();
        terms.add(
            "lm",
            1.0,
            language_modelling_loss(model, self.language_model, features, &examples)?,
        );
        Ok(terms)
    }
}

/// A step of stage 2 on `size` ranks.
fn stage2(size: usize, order: SumOrder) -> Vec<Outcome> {
    let frozen = load_language_model(&fixture("hf/opt-tiny"), &Device::flex()).expect("a language model");
    Threads::run(size, WATCHDOG, |ranks| {
        let model = tiny::model(&tiny::config(), &device());
        let width = frozen.model.hidden_size();
        let bridge = Bridge::from_representation(&mut Initializer::new(7, &device()), model, width);
        let objective = Captions {
            language_model: frozen.model.as_ref(),
        };
        let step = objective.gradients(&bridge, &batch(&ranks), &context(&ranks, order));
        Outcome::new(&bridge, &step.expect("a step"), &ranks)
    })
}

/// All ranks have the same; losses within 1e-6, gradients within 1e-5 of the largest of one rank's, or the very same bits.
fn compare(order: SumOrder, step: impl Fn(usize, SumOrder) -> Vec<Outcome>) {
    let alone = step(1, order).remove(0);
    for size in SIZES {
        let ranks = step(size, order);
        assert_eq!(ranks.len(), size);
        for outcome in &ranks {
            assert_eq!(outcome.terms, ranks[0].terms, "{size} ranks");
            assert_equal_bits(&outcome.gradients, &ranks[0].gradients);
        }
        match order {
            SumOrder::Fixed => {
                assert_eq!(ranks[0].terms, alone.terms, "{size} ranks");
                assert_equal_bits(&ranks[0].gradients, &alone.gradients);
            }
            SumOrder::Free => {
                for (name, value) in &ranks[0].terms {
                    let (theirs, largest) = (alone.terms[name], alone.terms[name].abs().max(1.0));
                    assert!(
                        (value - theirs).abs() <= 1e-6 * largest,
                        "{name}: {value} on {size} ranks, {theirs}"
                    );
                }
                assert_near(&ranks[0].gradients, &alone.gradients);
            }
        }
    }
}

#[test]
fn stage_1_is_the_same_on_any_number_of_ranks() {
    compare(SumOrder::Free, |size, order| stage1(size, order, None));
}

#[test]
fn stage_1_is_the_same_to_the_bit_where_the_order_is_fixed() {
    compare(SumOrder::Fixed, |size, order| stage1(size, order, None));
}

#[test]
fn stage_2_is_the_same_on_any_number_of_ranks() {
    compare(SumOrder::Free, stage2);
    compare(SumOrder::Fixed, stage2);
}

/// `docs/scale.md`: gradients twice but for the rank's own share, embeddings of all others, and of features those that were drawn
/// and lie elsewhere.
#[test]
fn what_travels_is_what_the_arithmetic_says() {
    let negatives = Negatives {
        images: (0..BATCH).map(|row| ((row * 3 + 7) % BATCH) ^ 1).collect(),
        texts: (0..BATCH).map(|row| (row + 1 + row % 5) % BATCH).collect(),
    };
    let (config, texts) = (tiny::config(), tiny::rows(BATCH));
    for size in [2, 4] {
        let pairs = BATCH / size;
        let outcomes = stage1(size, SumOrder::Free, Some(&negatives));
        for (rank, outcome) in outcomes.iter().enumerate() {
            let own = rank * pairs..(rank + 1) * pairs;
            let received = |what: &str| outcome.traffic.of(what).received as usize;
            let trained: usize = outcome.gradients.values().flatten().map(Vec::len).sum();
            assert_eq!(received("gradients"), 2 * 4 * trained * (size - 1) / size);
            let numbers = (config.qformer.num_query_tokens + 1) * config.embedding_size;
            assert_eq!(received("embeddings"), (size - 1) * pairs * numbers * 4);

            let elsewhere = |rows: &[usize]| -> BTreeSet<usize> {
                let drawn = rows[own.clone()].iter().copied();
                drawn.filter(|row| !own.contains(row)).collect()
            };
            let (images, drawn) = (elsewhere(&negatives.images), elsewhere(&negatives.texts));
            let owners: BTreeSet<usize> = images.iter().map(|row| row / pairs).collect();
            let numbers = 7 * config.qformer.encoder_hidden_size;
            // In single precision; one byte of each sender says so.
            let expected = images.len() * numbers * 4 + owners.len();
            assert_eq!(received("features of negatives"), expected);
            let ids: usize = drawn.iter().map(|row| 1 + texts[*row].len()).sum();
            assert_eq!(received("texts of negatives"), ids * 4);
            assert_eq!(received("text lengths"), (size - 1) * pairs * 4);
        }
    }
    let alone = stage1(1, SumOrder::Free, Some(&negatives)).remove(0);
    assert_eq!(alone.traffic.total().received, 0);
}

#[test]
fn a_text_that_no_rank_has_sent_is_missed_and_not_made_up() {
    let model = tiny::model(&tiny::config(), &device());
    let options = RepresentationOptions::default();
    let texts = tiny::rows(BATCH);
    let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
    let (own, mut generator) = (&texts[..BATCH / 2], ChaCha8Rng::seed_from_u64(3));
    let drawn = NegativeSource::Drawn(&mut generator);
    let step =
        blip2_objectives::RepresentationStep::of_share(&model, &options, (0, own), &lengths, 2, drawn, 1);
    let features = tiny::features(BATCH, &device());
    let of = |rows: &[usize]| -> Result<Tensor<3>, TrainError> {
        Ok(features.clone().narrow(0, rows[0], rows.len()))
    };
    let error = step
        .expect("a step")
        .embeddings(1..2, &mut { of })
        .expect_err("no text");
    assert!(
        error.to_string().contains("row 16 lies on another device"),
        "{error}"
    );
}
