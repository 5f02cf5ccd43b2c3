//! KV cache: keys and values of the tokens read so far. They stay where they were written: when beams change places, each row
//! only learns anew which rows its tokens stand in, and the rows of one beginning share it.

use blip2_kernels::KeyPart;
use burn::tensor::Tensor;

/// Where the tokens of each row stand.
pub(crate) struct Origins {
    /// For each row, the row of the beginnings that it stems from: of its prompt, as opposed to what was written behind.
    beginnings: Vec<usize>,
    /// For each token written behind, the row that each row had when it was written.
    written: Vec<Vec<usize>>,
}

impl Origins {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            beginnings: (0..rows).collect(),
            written: Vec::new(),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.beginnings.len()
    }

    pub(crate) fn beginnings(&self) -> &[usize] {
        &self.beginnings
    }

    /// Tokens written behind.
    pub(crate) fn written(&self) -> usize {
        self.written.len()
    }

    /// Lets row `i` go on where row `parents[i]` was, with a token of its own.
    pub(crate) fn follow(&mut self, parents: &[usize]) {
        for rows in self.written.iter_mut().chain([&mut self.beginnings]) {
            *rows = parents.iter().map(|parent| rows[*parent]).collect();
        }
        self.written.push((0..parents.len()).collect());
    }
}

/// Keys and values of some tokens, `[rows, key heads, tokens, head width]` each.
pub(crate) struct Remembered {
    pub(crate) key: Tensor<4>,
    pub(crate) value: Tensor<4>,
}

impl Remembered {
    /// As rows read it.
    pub(crate) fn part(&self, rows: &[usize]) -> KeyPart {
        KeyPart {
            key: self.key.clone(),
            value: self.value.clone(),
            rows: rows.to_vec(),
        }
    }
}

/// What one attention remembers of a text.
pub(crate) struct LayerCache {
    beginning: Remembered,
    /// One token each.
    written: Vec<Remembered>,
}

impl LayerCache {
    pub(crate) fn new(beginning: Remembered) -> Self {
        Self {
            beginning,
            written: Vec::new(),
        }
    }

    /// Adds the newest token of `origins`, and gives all that its rows read.
    pub(crate) fn add(&mut self, token: Remembered, origins: &Origins) -> Vec<KeyPart> {
        self.written.push(token);
        let written = self.written.iter().zip(&origins.written);
        let written = written.map(|(token, rows)| token.part(rows));
        let beginning = self.beginning.part(&origins.beginnings);
        std::iter::once(beginning).chain(written).collect()
    }
}
