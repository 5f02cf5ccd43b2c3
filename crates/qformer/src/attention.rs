//! Multi-head attention with BERT's output block, its keys and values kept apart so that they can be reused.

use blip2_core::Initializer;
use blip2_core::layers::{LayerNorm, Linear};
use blip2_kernels::{self as kernels, AttentionOptions, Tensors};
use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::QFormerConfig;
use crate::watch::Watch;

/// Keys and values, each `[batch, heads, tokens, head width]`.
#[derive(Clone, Debug)]
pub(crate) struct KeyValue {
    pub(crate) key: Tensor<4>,
    pub(crate) value: Tensor<4>,
    /// The row of both that each row of a query reads, if not its own.
    pub(crate) rows: Option<Vec<usize>>,
}

impl KeyValue {
    /// These tokens followed by those of `later`.
    pub(crate) fn followed_by(&self, later: Self) -> Self {
        Self {
            key: Tensor::cat(vec![self.key.clone(), later.key], 2),
            value: Tensor::cat(vec![self.value.clone(), later.value], 2),
            rows: None,
        }
    }

    /// Both, behind `arguments` of a block that is computed again.
    pub(crate) fn put(self, arguments: Tensors) -> Tensors {
        arguments.with(self.key).with(self.value)
    }

    /// The next two of `arguments`, of which `rows` are read.
    pub(crate) fn take(arguments: &mut Tensors, rows: Option<Vec<usize>>) -> Self {
        Self {
            key: arguments.take(),
            value: arguments.take(),
            rows,
        }
    }

    /// How many rows are read.
    pub(crate) fn count(&self) -> usize {
        self.rows.as_ref().map_or(self.key.dims()[0], Vec::len)
    }

    /// The rows of both, those of `more` behind.
    pub(crate) fn with_rows(&self, more: &Self) -> Self {
        let (own, more) = (self.clone().gathered(), more.clone().gathered());
        Self {
            key: Tensor::cat(vec![own.key, more.key], 0),
            value: Tensor::cat(vec![own.value, more.value], 0),
            rows: None,
        }
    }

    /// The rows at `indices`, to be read where they lie.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        let row = |index: &usize| self.rows.as_ref().map_or(*index, |rows| rows[*index]);
        Self {
            rows: Some(indices.iter().map(row).collect()),
            ..self.clone()
        }
    }

    /// The same with each row that is read in its own place.
    pub(crate) fn gathered(self) -> Self {
        let Some(rows) = &self.rows else { return self };
        let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &self.key.device());
        Self {
            key: self.key.select(0, rows.clone()),
            value: self.value.select(0, rows),
            rows: None,
        }
    }
}

/// Which keys a row may see.
#[derive(Clone, Default)]
pub(crate) struct Visibility {
    /// Added to the scores, `[batch, 1, 1, keys]`.
    pub(crate) bias: Option<Tensor<4>>,
    /// Rows see no later row. Keys that precede all rows are seen by all.
    pub(crate) causal: bool,
}

/// Attention, output projection, residual and layer norm (post-norm).
#[derive(Module, Debug)]
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    layer_norm: LayerNorm,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    hidden_dropout: f64,
    #[module(skip)]
    attention_dropout: f64,
}

impl Attention {
    /// Between text and queries.
    pub(crate) fn of_self(initializer: &mut Initializer, config: &QFormerConfig) -> Self {
        Self::new(initializer, config, config.hidden_size, config.initializer_range)
    }

    /// From queries to image features.
    pub(crate) fn cross(initializer: &mut Initializer, config: &QFormerConfig) -> Self {
        let sharpness = config.cross_attention_initializer_range;
        let sharpness = sharpness.unwrap_or(config.initializer_range);
        Self::new(initializer, config, config.encoder_hidden_size, sharpness)
    }

    /// `source` is the width of what keys and values are made of, `sharpness` the deviation of what makes the scores.
    fn new(initializer: &mut Initializer, config: &QFormerConfig, source: usize, sharpness: f32) -> Self {
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        Self {
            query: Linear::normal(initializer, width, width, sharpness),
            key: Linear::normal(initializer, source, width, sharpness),
            value: Linear::normal(initializer, source, width, deviation),
            dense: Linear::normal(initializer, width, width, deviation),
            layer_norm: LayerNorm::new(initializer, width, config.layer_norm_eps),
            heads: config.num_attention_heads,
            hidden_dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        }
    }

    pub(crate) fn key_value(&self, source: Tensor<3>) -> KeyValue {
        KeyValue {
            key: self.split(self.key.forward(source.clone())),
            value: self.split(self.value.forward(source)),
            rows: None,
        }
    }

    /// Lets `rows` `[batch, rows, width]` read `source`, and `watch`, where it is given, look at how much of what.
    pub(crate) fn forward(
        &self,
        rows: Tensor<3>,
        source: KeyValue,
        visibility: Visibility,
        watch: Option<&mut Watch>,
    ) -> Tensor<3> {
        let [batch, length, width] = rows.dims();
        let query = self.split(self.query.forward(rows.clone()));
        let drops = self.attention_dropout > 0.0 && kernels::learns(&rows.device());
        let context = if drops || watch.is_some() {
            let source = source.gathered();
            let mut probabilities = probabilities(query, source.key, visibility);
            if let Some(watch) = watch {
                probabilities = watch.see(probabilities);
            }
            dropout(probabilities, self.attention_dropout).matmul(source.value)
        } else {
            let options = AttentionOptions {
                causal: visibility.causal,
                rows: source.rows,
                ..Default::default()
            };
            kernels::attention(query, source.key, source.value, visibility.bias, options)
        };
        let context = context.swap_dims(1, 2).reshape([batch, length, width]);
        self.layer_norm
            .forward_residual(dropout(self.dense.forward(context), self.hidden_dropout), rows)
    }

    /// The same in evaluation on any device.
    pub(crate) fn without_dropout(self) -> Self {
        Self {
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            ..self
        }
    }

    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, self.heads, width / self.heads])
            .swap_dims(1, 2)
    }
}

/// How much each row of `query` `[batch, heads, rows, head width]` takes of each of `key`, `[batch, heads, rows, keys]`: the
/// reference's form, whose values can be looked at, and dropped.
fn probabilities(query: Tensor<4>, key: Tensor<4>, visibility: Visibility) -> Tensor<4> {
    let [_, _, rows, head_width] = query.dims();
    let keys = key.dims()[2];
    let mut scores = query.matmul(key.swap_dims(2, 3)) / (head_width as f64).sqrt();
    if let Some(bias) = visibility.bias {
        scores = scores + bias;
    }
    if visibility.causal {
        let hidden =
            Tensor::<2>::ones([rows, keys], &scores.device()).triu((keys - rows) as i64 + 1) * -10_000.0;
        scores = scores + hidden.unsqueeze::<4>();
    }
    kernels::softmax(scores)
}

/// Inverted dropout while training, drawn from the device's generator.
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, probability: f64) -> Tensor<D> {
    if probability == 0.0 || !kernels::learns(&x.device()) {
        return x;
    }
    let keep = 1.0 - probability;
    let mask = kernels::random_mask(x.dims(), keep, &x.device());
    x * mask / keep
}
