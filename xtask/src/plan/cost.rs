//! What a step computes, holds and sends, from sizes alone. `docs/scale.md` says how each figure comes about.

use super::recipe::{Recipe, Sized, Stage};

/// Forward pass, gradients of the inputs, gradients of the weights.
const TRAINED: f64 = 3.0;
/// A frozen model that gradients go through: no gradients of weights.
const PASSED_THROUGH: f64 = 2.0;
const FORWARD: f64 = 1.0;
/// Bytes of a trained parameter: value, gradient, two moments.
const TRAINED_BYTES: f64 = 16.0;
/// Bytes of a parameter of a frozen model, and of a number that travels or is stored.
const HALF: f64 = 2.0;
const SINGLE: f64 = 4.0;
/// Numbers as wide as the Q-Former that a row keeps for the backward pass in each layer, as measured (docs/performance.md,
/// `stage1-step` and `stage1-step-dropout`).
const KEPT: f64 = 10.0;
const KEPT_WITH_DROPOUT: f64 = 28.0;
/// The same where layers are computed again: what goes in, with dropout its masks as well.
const GOES_IN: f64 = 1.0;
const GOES_IN_WITH_DROPOUT: f64 = 3.0;

/// Which stage, with what the other one does not have.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Representation,
    Generative,
}

/// A part of a pair's cost.
pub(super) struct Share {
    pub(super) name: &'static str,
    /// Floating-point operations a pair, a multiplication and an addition counted as two.
    pub(super) flop: f64,
}

/// Multiplications of `rows` of a transformer layer of `width` with the feed-forward network's `inner` width.
fn layer(rows: f64, width: f64, inner: f64, matrices: f64) -> f64 {
    rows * (4.0 * width * width + matrices * width * inner)
}

/// Multiplications of scores and their weighted sum.
fn attention(rows: f64, keys: f64, width: f64) -> f64 {
    2.0 * rows * keys * width
}

impl Sized {
    /// Tokens of a picture, the class token included.
    pub(super) fn tokens(&self) -> f64 {
        let side = self.image / self.encoder.patch;
        (side * side + 1) as f64
    }

    /// Bytes of a picture's features in half precision.
    pub(super) fn feature_bytes(&self) -> f64 {
        self.tokens() * self.encoder.width as f64 * HALF
    }

    /// What a pair costs in `phase`; in several parts, embeddings are computed once more, without gradients.
    pub(super) fn shares(&self, phase: Phase, stage: &Stage) -> Vec<Share> {
        let again = |blocks| if stage.recomputes(blocks) { FORWARD } else { 0.0 };
        let trained = TRAINED + again("qformer");
        let flop = |name, multiplications: f64, factor: f64| Share {
            name,
            flop: 2.0 * multiplications * factor,
        };
        let passes = Passes::of(self);
        let mut shares = vec![flop("frozen encoder", self.encoder_forward(), FORWARD)];
        match phase {
            Phase::Representation => {
                if stage.parts > 1 {
                    let embeddings = passes.images + passes.queries + passes.text;
                    shares.push(flop("embeddings of all parts", embeddings, FORWARD));
                }
                shares.extend([
                    flop("image keys and values", passes.images, TRAINED),
                    flop("contrast (ITC)", passes.queries + passes.text, trained),
                    flop("matching (ITM)", passes.matching, trained),
                    flop("generation (ITG)", passes.generation, trained),
                ]);
            }
            Phase::Generative => {
                shares.push(flop("image keys and values", passes.images, TRAINED));
                shares.push(flop("Q-Former", passes.queries, trained));
                let passed = PASSED_THROUGH + again("language");
                shares.push(flop("language model", self.language_forward(), passed));
            }
        }
        shares
    }

    fn encoder_forward(&self) -> f64 {
        let (encoder, tokens) = (&self.encoder, self.tokens());
        let (width, inner) = (encoder.width as f64, encoder.inner as f64);
        let block = layer(tokens, width, inner, 2.0) + attention(tokens, tokens, width);
        let patches = (tokens - 1.0) * 3.0 * (encoder.patch * encoder.patch) as f64 * width;
        encoder.layers as f64 * block + patches
    }

    /// Queries and a text of full length; an encoder-decoder model reads one as long and writes one.
    fn language_forward(&self) -> f64 {
        let Some(model) = &self.language_model else {
            return 0.0;
        };
        let (width, inner, matrices) = (model.width as f64, model.inner as f64, model.matrices as f64);
        let text = self.recipe.max_text_tokens as f64;
        let read = self.recipe.representation.qformer.num_query_tokens as f64 + text;
        let block = layer(read, width, inner, matrices) + attention(read, read, width);
        let across = 2.0 * (text + read) * width * width + attention(text, read, width);
        let written = layer(text, width, inner, matrices) + attention(text, text, width) + across;
        let predicted = if model.decoder_layers > 0 {
            text
        } else {
            text + 1.0
        };
        model.layers as f64 * block
            + model.decoder_layers as f64 * written
            + predicted * width * model.vocabulary as f64
    }

    /// Trainable parameters.
    pub(super) fn trained(&self, phase: Phase) -> u64 {
        let Recipe { representation, .. } = &self.recipe;
        let (sizes, features) = (&representation.qformer, self.encoder.width);
        let (width, inner) = (sizes.hidden_size, sizes.intermediate_size);
        let linear = |inputs: u64, outputs: u64| inputs * outputs + outputs;
        let norm = 2 * width;
        let attention = |keys: u64| 2 * linear(width, width) + 2 * linear(keys, width) + norm;
        let feed_forward = linear(width, inner) + linear(inner, width) + norm;
        let reading = sizes.num_hidden_layers.div_ceil(sizes.cross_attention_frequency);
        let branch = sizes.num_hidden_layers * (attention(width) + feed_forward)
            + reading * attention(features)
            + norm
            + sizes.num_query_tokens * width
            + 2 * features;
        match (phase, &self.language_model) {
            (Phase::Representation, _) => {
                let text = (sizes.vocab_size + sizes.max_position_embeddings) * width
                    + sizes.num_hidden_layers * feed_forward;
                let head = linear(width, width) + norm + sizes.vocab_size;
                branch + text + head + 2 * linear(width, representation.embedding_size) + linear(width, 2) + 1
            }
            (Phase::Generative, model) => branch + linear(width, model.map_or(0, |model| model.width)),
        }
    }

    /// Bytes that a device holds in `stage`, by what they are, with a part of `pairs` pairs.
    pub(super) fn memory(&self, phase: Phase, pairs: f64, stage: &Stage) -> Vec<(&'static str, f64)> {
        let sizes = &self.recipe.representation.qformer;
        let (queries, text) = (sizes.num_query_tokens as f64, self.recipe.max_text_tokens as f64);
        let mut held = vec![
            ("frozen encoder", self.encoder.parameters as f64 * HALF),
            ("trained parameters", self.trained(phase) as f64 * TRAINED_BYTES),
        ];
        let (rows, images) = match phase {
            Phase::Representation => (4.0 * queries + 5.0 * text, 2.0),
            Phase::Generative => (queries, 1.0),
        };
        let (kept, goes_in) = match sizes.hidden_dropout_prob > 0.0 {
            true => (KEPT_WITH_DROPOUT, GOES_IN_WITH_DROPOUT),
            false => (KEPT, GOES_IN),
        };
        // Of layers that are computed again, all but one hold no more than what went in.
        let of_layers = |layers: u64, blocks: &str, kept: f64, goes_in: f64| match stage.recomputes(blocks) {
            true => layers as f64 * goes_in + kept,
            false => layers as f64 * kept,
        };
        let width = sizes.hidden_size as f64 * SINGLE;
        let activations = pairs * rows * of_layers(sizes.num_hidden_layers, "qformer", kept, goes_in) * width;
        held.push(("activations of the Q-Former", activations));
        let features = pairs * images * self.feature_bytes() / HALF * SINGLE;
        held.push(("features of a part", features));
        match (phase, &self.language_model) {
            (Phase::Generative, Some(model)) => {
                held.push(("frozen language model", model.parameters as f64 * HALF));
                let numbers = |layers| of_layers(layers, "language", KEPT, GOES_IN);
                let read = (queries + text) * numbers(model.layers);
                let written = match model.decoder_layers {
                    0 => 0.0,
                    layers => text * numbers(layers),
                };
                let activations = pairs * (read + written) * model.width as f64 * SINGLE;
                held.push(("activations of the language model", activations));
            }
            _ => {
                let embedding = self.recipe.representation.embedding_size as f64;
                held.push((
                    "embeddings of the batch",
                    stage.batch as f64 * (queries + 1.0) * embedding * SINGLE,
                ));
            }
        }
        held
    }

    /// Bytes that a device receives in a step, by what they are, from `devices` with `pairs` pairs each.
    pub(super) fn network(&self, phase: Phase, devices: f64, pairs: f64) -> Vec<(&'static str, f64)> {
        let others = (devices - 1.0) / devices;
        let gradients = self.trained(phase) as f64 * SINGLE;
        let mut sent = vec![("gradients, in a ring", 2.0 * others * gradients)];
        if phase == Phase::Representation {
            let sizes = &self.recipe.representation;
            let numbers = (sizes.qformer.num_query_tokens + 1) * sizes.embedding_size;
            let embeddings = (devices - 1.0) * pairs * numbers as f64 * SINGLE;
            sent.push(("embeddings of the other parts", embeddings));
            sent.push((
                "features of drawn negatives",
                others * pairs * self.feature_bytes(),
            ));
        }
        sent
    }
}

/// Multiplications of the Q-Former's passes over a pair, forward.
struct Passes {
    /// Keys and values that the cross-attentions make of a picture, once for all passes.
    images: f64,
    queries: f64,
    text: f64,
    matching: f64,
    generation: f64,
}

impl Passes {
    fn of(sized: &Sized) -> Self {
        let sizes = &sized.recipe.representation.qformer;
        let (width, inner) = (sizes.hidden_size as f64, sizes.intermediate_size as f64);
        let (layers, queries) = (sizes.num_hidden_layers as f64, sizes.num_query_tokens as f64);
        let (text, patches) = (sized.recipe.max_text_tokens as f64, sized.tokens());
        let reading = sizes.num_hidden_layers.div_ceil(sizes.cross_attention_frequency) as f64;
        let pass =
            |rows: f64, keys: f64| layers * (layer(rows, width, inner, 2.0) + attention(rows, keys, width));
        let across = reading * (2.0 * queries * width * width + attention(queries, patches, width));
        let head = text * width * (width + sizes.vocab_size as f64);
        let both = queries + text;
        Self {
            images: reading * 2.0 * patches * sized.encoder.width as f64 * width,
            queries: pass(queries, queries) + across,
            text: pass(text, text),
            matching: 3.0 * (pass(both, both) + across),
            generation: pass(text, both) + head,
        }
    }
}
