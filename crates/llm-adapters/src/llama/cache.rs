//! Keys and values of the tokens read so far, and the text that is written with them.

use blip2_core::{ModelError, NextTokenModel};
use burn::tensor::{Int, Tensor, TensorData};

use super::Llama;

/// Places added when a cache is full: it grows in steps, so that most tokens are written where there is room already.
const GROWTH: usize = 64;

/// Keys and values of one layer, `[rows, key heads, places, head width]` each. Places behind the text are unused.
pub(super) struct LayerCache {
    pub(super) key: Tensor<4>,
    pub(super) value: Tensor<4>,
}

impl LayerCache {
    /// Writes `key` and `value` `[rows, key heads, 1, head width]` to place `at`, and gives all up to there.
    pub(super) fn insert(&mut self, at: usize, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let put = |cache: &mut Tensor<4>, new: Tensor<4>| {
            let [rows, heads, places, width] = cache.dims();
            cache.inplace(|cache| {
                let cache = if at < places {
                    cache
                } else {
                    let room = Tensor::zeros([rows, heads, GROWTH, width], (&cache.device(), cache.dtype()));
                    Tensor::cat(vec![cache, room], 2)
                };
                cache.slice_assign([0..rows, 0..heads, at..at + 1, 0..width], new)
            });
            cache.clone().slice([0..rows, 0..heads, 0..at + 1, 0..width])
        };
        (put(&mut self.key, key), put(&mut self.value, value))
    }

    fn select(&mut self, parents: &Tensor<1, Int>) {
        for tensor in [&mut self.key, &mut self.value] {
            tensor.inplace(|tensor| tensor.select(0, parents.clone()));
        }
    }
}

/// A batch of texts in the middle of being written.
///
/// Prompts are padded on the right, as in training, so that reading them needs no mask; what is written then follows at
/// the same place in every row, and the padding in between is hidden. Positions count real tokens only.
pub(super) struct LlamaText<'a> {
    model: &'a Llama,
    layers: Vec<LayerCache>,
    /// Real tokens of each row's beginning, soft prompt included.
    starts: Vec<usize>,
    /// Places that the beginnings take: the longest of `starts`.
    padded: usize,
    /// Tokens written behind.
    written: usize,
    logits: Tensor<2>,
}

impl<'a> LlamaText<'a> {
    pub(super) fn new(
        model: &'a Llama,
        layers: Vec<LayerCache>,
        starts: Vec<usize>,
        logits: Tensor<2>,
    ) -> Self {
        let padded = starts.iter().copied().max().unwrap_or(0);
        Self {
            model,
            layers,
            starts,
            padded,
            written: 0,
            logits,
        }
    }

    /// `[rows, 1, 1, places]`, `-inf` on padding; `None` where all rows are equally long.
    fn hidden_keys(&self, places: usize) -> Option<Tensor<4>> {
        if self.starts.iter().all(|start| *start == self.padded) {
            return None;
        }
        let mut values = vec![0.0f32; self.starts.len() * places];
        for (row, start) in self.starts.iter().enumerate() {
            values[row * places + start..row * places + self.padded].fill(f32::NEG_INFINITY);
        }
        let data = TensorData::new(values, [self.starts.len(), 1, 1, places]);
        Some(Tensor::from_data(data, &self.model.device()))
    }
}

impl NextTokenModel for LlamaText<'_> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let rows = self.starts.len();
        if parents.len() != tokens.len() || tokens.is_empty() {
            return Err(ModelError::Invalid(format!(
                "{} parents and {} tokens were given to continue a text: one of each is needed for every new row",
                parents.len(),
                tokens.len()
            )));
        }
        if let Some(parent) = parents.iter().find(|parent| **parent >= rows) {
            return Err(ModelError::Invalid(format!(
                "row {parent} cannot be continued: there are {rows} rows"
            )));
        }
        self.model.check_vocabulary(tokens)?;
        self.model.check_context(self.padded + self.written + 1)?;
        let device = self.model.device();
        if !parents.iter().copied().eq(0..rows) {
            let list: Vec<i64> = parents.iter().map(|parent| *parent as i64).collect();
            let list = Tensor::from_data(TensorData::new(list, [parents.len()]), &device);
            self.layers.iter_mut().for_each(|layer| layer.select(&list));
            self.starts = parents.iter().map(|parent| self.starts[*parent]).collect();
        }
        let at = self.padded + self.written;
        let positions: Vec<usize> = self.starts.iter().map(|start| start + self.written).collect();
        let rotation = self.model.rotary().at(&positions, positions.len(), &device);
        let hidden_keys = self.hidden_keys(at + 1);
        let mut hidden = self.model.embed(tokens, tokens.len());
        for (layer, cache) in self.model.layers().iter().zip(&mut self.layers) {
            hidden = layer.step(hidden, &rotation, cache, at, hidden_keys.as_ref());
        }
        let [rows, _, width] = hidden.dims();
        self.logits = self.model.head(hidden.reshape([rows, width]));
        self.written += 1;
        Ok(())
    }
}
