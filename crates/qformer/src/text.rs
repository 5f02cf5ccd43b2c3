//! A batch of texts, padded no further than its longest one.

use blip2_core::ModelError;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Token ids of several texts and where they are real.
#[derive(Clone, Debug)]
pub struct TextBatch {
    /// `[batch, tokens]`, padded on the right with id 0 (BERT's `[PAD]`).
    pub ids: Tensor<2, Int>,
    /// `[batch, tokens]`: 1 on text, 0 on padding.
    pub mask: Tensor<2>,
    rows: Vec<Vec<u32>>,
}

impl TextBatch {
    /// Pads `rows` to the longest of them: what the reference pads further is masked away, so nothing else changes.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the batch or one of its rows is empty.
    pub fn new(rows: Vec<Vec<u32>>, device: &Device) -> Result<Self, ModelError> {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        if rows.iter().any(Vec::is_empty) || longest == 0 {
            return Err(ModelError::Invalid(format!(
                "text {} of the batch has no token: tokenise it with its special tokens",
                rows.iter().position(Vec::is_empty).unwrap_or(0)
            )));
        }
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for row in &rows {
            ids.extend((0..longest).map(|i| row.get(i).map_or(0, |id| *id as i64)));
            mask.extend((0..longest).map(|i| if i < row.len() { 1.0_f32 } else { 0.0 }));
        }
        let shape = [rows.len(), longest];
        Ok(Self {
            ids: Tensor::from_data(TensorData::new(ids, shape), device),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
            rows,
        })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no text: never, since [`TextBatch::new`] refuses it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Tokens of the longest text.
    pub fn tokens(&self) -> usize {
        self.ids.dims()[1]
    }

    /// The texts as they were given.
    pub fn rows(&self) -> &[Vec<u32>] {
        &self.rows
    }

    /// The texts at `indices`, in that order.
    ///
    /// # Panics
    /// Where an index is not below [`TextBatch::len`].
    pub fn select(&self, indices: &[usize]) -> Self {
        let device = self.ids.device();
        let chosen = Tensor::<1, Int>::from_data(
            TensorData::new(
                indices.iter().map(|i| *i as i64).collect::<Vec<_>>(),
                [indices.len()],
            ),
            &device,
        );
        Self {
            ids: self.ids.clone().select(0, chosen.clone()),
            mask: self.mask.clone().select(0, chosen),
            rows: indices.iter().map(|i| self.rows[*i].clone()).collect(),
        }
    }

    /// The same texts with their first token, `[CLS]`, replaced: by `[DEC]`, the text is to be generated.
    pub fn with_first(&self, token: u32) -> Self {
        let first = Tensor::full([self.len(), 1], token as i64, &self.ids.device());
        let mut rows = self.rows.clone();
        rows.iter_mut().for_each(|row| row[0] = token);
        Self {
            ids: self.ids.clone().slice_assign([0..self.len(), 0..1], first),
            mask: self.mask.clone(),
            rows,
        }
    }
}
