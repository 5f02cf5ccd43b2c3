//! One layer: shared self-attention, cross-attention for the queries, and a feed-forward network for each branch.

use blip2_core::Initializer;
use blip2_core::layers::{LayerNorm, Linear};
use blip2_kernels::{self as kernels, Tensors};
use burn::module::Module;
use burn::tensor::Tensor;

use crate::QFormerConfig;
use crate::attention::{Attention, KeyValue, Visibility, dropout};
use crate::watch::Watch;

/// BERT's feed-forward network with residual and layer norm.
#[derive(Module, Debug)]
pub(crate) struct FeedForward {
    intermediate: Linear,
    output: Linear,
    layer_norm: LayerNorm,
    #[module(skip)]
    dropout: f64,
}

impl FeedForward {
    fn new(initializer: &mut Initializer, config: &QFormerConfig) -> Self {
        let (width, inner, deviation) = (
            config.hidden_size,
            config.intermediate_size,
            config.initializer_range,
        );
        Self {
            intermediate: Linear::normal(initializer, width, inner, deviation),
            output: Linear::normal(initializer, inner, width, deviation),
            layer_norm: LayerNorm::new(initializer, width, config.layer_norm_eps),
            dropout: config.hidden_dropout_prob,
        }
    }

    fn without_dropout(self) -> Self {
        Self { dropout: 0.0, ..self }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = kernels::gelu(self.intermediate.forward(x.clone()));
        self.layer_norm
            .forward_residual(dropout(self.output.forward(inner), self.dropout), x)
    }
}

/// What one layer reads and what is wanted of it.
pub(crate) struct LayerInput<'a> {
    /// How many leading rows are queries.
    pub(crate) queries: usize,
    /// Image keys and values of this layer, where it has a cross-attention and the pass has queries.
    pub(crate) image: Option<&'a KeyValue>,
    /// Self-attention keys and values of earlier tokens.
    pub(crate) past: Option<&'a KeyValue>,
    /// Which keys are seen.
    pub(crate) visibility: Visibility,
    /// Only this many leading rows are read afterwards.
    pub(crate) leading: Option<usize>,
    /// What looks at the attentions, where they are asked for.
    pub(crate) watch: Option<&'a mut Watch>,
}

/// One of the Q-Former's layers.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    attention: Attention,
    pub(crate) cross_attention: Option<Attention>,
    pub(crate) text_feed_forward: Option<FeedForward>,
    query_feed_forward: FeedForward,
}

impl Layer {
    pub(crate) fn new(
        initializer: &mut Initializer,
        config: &QFormerConfig,
        index: usize,
        with_text: bool,
    ) -> Self {
        Self {
            attention: Attention::of_self(initializer, config),
            cross_attention: config
                .reads_image(index)
                .then(|| Attention::cross(initializer, config)),
            text_feed_forward: with_text.then(|| FeedForward::new(initializer, config)),
            query_feed_forward: FeedForward::new(initializer, config),
        }
    }

    /// Maps `hidden` `[batch, rows, width]`; also gives the self-attention keys and values of these rows.
    pub(crate) fn forward(&self, hidden: Tensor<3>, mut input: LayerInput<'_>) -> (Tensor<3>, KeyValue) {
        let own = self.attention.key_value(hidden.clone());
        let seen = match input.past {
            Some(past) => past.followed_by(own.clone()),
            None => own.clone(),
        };
        let rows = match input.leading {
            Some(leading) => hidden.narrow(1, 0, leading),
            None => hidden,
        };
        let watch = input.watch.as_deref_mut();
        let attended = self.attention.forward(rows, seen, input.visibility, watch);
        (
            self.branches(attended, input.queries, input.image, input.watch),
            own,
        )
    }

    /// The same in evaluation on any device.
    pub(crate) fn without_dropout(self) -> Self {
        Self {
            attention: self.attention.without_dropout(),
            cross_attention: self.cross_attention.map(Attention::without_dropout),
            text_feed_forward: self.text_feed_forward.map(FeedForward::without_dropout),
            query_feed_forward: self.query_feed_forward.without_dropout(),
        }
    }

    /// As [`Layer::forward`], with nobody who watches; the backward pass computes it again.
    pub(crate) fn recomputed(&self, hidden: Tensor<3>, input: LayerInput<'_>) -> (Tensor<3>, KeyValue) {
        let LayerInput {
            queries,
            image,
            past,
            visibility: Visibility { bias, causal },
            leading,
            watch: _,
        } = input;
        let rows = |read: Option<&KeyValue>| read.map(|read| read.rows.clone());
        let (image_rows, past_rows, has_bias) = (rows(image), rows(past), bias.is_some());
        let mut arguments = Tensors::default().with(hidden);
        for read in [image, past].into_iter().flatten() {
            arguments = read.clone().put(arguments);
        }
        if let Some(bias) = bias {
            arguments = arguments.with(bias);
        }
        let mut results = kernels::recompute(self, arguments, move |layer, mut given| {
            let hidden = given.take();
            let mut take = |rows: &Option<_>| rows.clone().map(|rows| KeyValue::take(&mut given, rows));
            let (image, past) = (take(&image_rows), take(&past_rows));
            let input = LayerInput {
                queries,
                image: image.as_ref(),
                past: past.as_ref(),
                visibility: Visibility {
                    bias: has_bias.then(|| given.take()),
                    causal,
                },
                leading,
                watch: None,
            };
            let (hidden, own) = layer.forward(hidden, input);
            own.put(Tensors::default().with(hidden))
        });
        (results.take(), KeyValue::take(&mut results, None))
    }

    /// Queries go through cross-attention and their own network, text through the other.
    fn branches(
        &self,
        attended: Tensor<3>,
        queries: usize,
        image: Option<&KeyValue>,
        watch: Option<&mut Watch>,
    ) -> Tensor<3> {
        let [_, length, _] = attended.dims();
        if queries == 0 {
            return self.text(attended);
        }
        let (mut query_rows, text_rows) = if length == queries {
            (attended, None)
        } else {
            let (query_rows, text_rows) = kernels::split_tokens(attended, queries);
            (query_rows, Some(text_rows))
        };
        if let (Some(cross_attention), Some(image)) = (&self.cross_attention, image) {
            query_rows = cross_attention.forward(query_rows, image.clone(), Visibility::default(), watch);
        }
        let query_rows = self.query_feed_forward.forward(query_rows);
        match text_rows {
            Some(text_rows) => kernels::join_tokens(query_rows, self.text(text_rows)),
            None => query_rows,
        }
    }

    fn text(&self, rows: Tensor<3>) -> Tensor<3> {
        self.text_feed_forward
            .as_ref()
            .expect("text passes are refused by a Q-Former without text embeddings, which has no text network either")
            .forward(rows)
    }
}
