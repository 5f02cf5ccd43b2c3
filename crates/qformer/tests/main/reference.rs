//! The Q-Former written down once more in the plainest way: one image, one text, one pass over `[queries; text]` under
//! an explicit mask, without cache, batch or padding.

use std::collections::BTreeMap;

use blip2_core::weights::collect;
use blip2_qformer::{QFormerConfig, RepresentationModel};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

pub(crate) struct Reference {
    config: QFormerConfig,
    weights: BTreeMap<String, TensorData>,
}

impl Reference {
    pub(crate) fn new(model: &RepresentationModel) -> Self {
        Self {
            config: model.qformer.config().clone(),
            weights: collect(model).into_iter().collect(),
        }
    }

    /// States of `queries` and text `[queries + tokens, width]`; `image` `[patches, encoder width]` passed `vision_norm`.
    /// `sees(row, key)` is the mask.
    pub(crate) fn pass(
        &self,
        queries: usize,
        image: &Tensor<2>,
        ids: &[u32],
        sees: impl Fn(usize, usize) -> bool,
    ) -> Tensor<2> {
        let rows = queries + ids.len();
        let visible = |row, key| if sees(row, key) { 0.0 } else { -10_000.0 };
        let mask = (0..rows * rows)
            .map(|place| visible(place / rows, place % rows))
            .collect::<Vec<f32>>();
        let mask = Tensor::from_data(TensorData::new(mask, [rows, rows]), &Device::flex());

        let mut states = self.embed(queries, ids);
        for layer in 0..self.config.num_hidden_layers {
            let path = format!("layers.{layer}");
            states = self.attend(&format!("{path}.attention"), states.clone(), states, Some(&mask));
            let mut parts = Vec::new();
            if queries > 0 {
                let mut own = states.clone().narrow(0, 0, queries);
                if layer % self.config.cross_attention_frequency == 0 {
                    own = self.attend(&format!("{path}.cross_attention"), own, image.clone(), None);
                }
                parts.push(self.feed_forward(&format!("{path}.query_feed_forward"), own));
            }
            if !ids.is_empty() {
                let own = states.narrow(0, queries, ids.len());
                parts.push(self.feed_forward(&format!("{path}.text_feed_forward"), own));
            }
            states = Tensor::cat(parts, 0);
        }
        states
    }

    fn embed(&self, queries: usize, ids: &[u32]) -> Tensor<2> {
        let mut parts = Vec::new();
        if queries > 0 {
            parts.push(self.get::<3>("query_tokens").squeeze_dim(0));
        }
        if !ids.is_empty() {
            let chosen: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
            let chosen = Tensor::<1, Int>::from_data(TensorData::new(chosen, [ids.len()]), &Device::flex());
            let words = self
                .get::<2>("text_embeddings.word_embeddings.weight")
                .select(0, chosen);
            let positions = self
                .get::<2>("text_embeddings.position_embeddings.weight")
                .narrow(0, 0, ids.len());
            parts.push(words + positions);
        }
        self.normalise("layer_norm", Tensor::cat(parts, 0))
    }

    fn attend(&self, path: &str, rows: Tensor<2>, source: Tensor<2>, mask: Option<&Tensor<2>>) -> Tensor<2> {
        let [query, key, value] = [("query", &rows), ("key", &source), ("value", &source)]
            .map(|(name, from)| self.linear(&format!("{path}.{name}"), from.clone()));
        let width = self.config.hidden_size / self.config.num_attention_heads;
        let head = |index: usize| {
            let [query, key, value] =
                [&query, &key, &value].map(|part| part.clone().narrow(1, index * width, width));
            let scores = query.matmul(key.transpose()) / (width as f64).sqrt();
            softmax(mask.map_or(scores.clone(), |mask| scores + mask.clone()), 1).matmul(value)
        };
        let heads = Tensor::cat((0..self.config.num_attention_heads).map(head).collect(), 1);
        self.normalise(
            &format!("{path}.layer_norm"),
            self.linear(&format!("{path}.dense"), heads) + rows,
        )
    }

    fn feed_forward(&self, path: &str, rows: Tensor<2>) -> Tensor<2> {
        let inner = gelu(self.linear(&format!("{path}.intermediate"), rows.clone()));
        self.normalise(
            &format!("{path}.layer_norm"),
            self.linear(&format!("{path}.output"), inner) + rows,
        )
    }

    fn linear(&self, path: &str, rows: Tensor<2>) -> Tensor<2> {
        let weight = self.get::<2>(&format!("{path}.weight"));
        rows.matmul(weight.transpose()) + self.get::<1>(&format!("{path}.bias")).unsqueeze()
    }

    fn normalise(&self, path: &str, rows: Tensor<2>) -> Tensor<2> {
        let centred = rows.clone() - rows.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let unit = centred / (variance + self.config.layer_norm_eps).sqrt();
        let [weight, bias] =
            ["weight", "bias"].map(|name| self.get::<1>(&format!("{path}.{name}")).unsqueeze());
        unit * weight + bias
    }

    fn get<const D: usize>(&self, path: &str) -> Tensor<D> {
        Tensor::from_data(self.weights[&format!("qformer.{path}")].clone(), &Device::flex())
    }
}
