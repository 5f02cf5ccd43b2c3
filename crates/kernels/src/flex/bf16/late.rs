//! The tiles of a weight in bfloat16. Where its numbers lie in memory as a file has them, tiles are made of them anew for the
//! first product, and kept from the second on: a picture that is looked at once, or a word that is written once, waits neither
//! for fresh memory nor for the copy.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::TensorData;
use half::bf16;

use super::pack::{DEPTH, PANEL, Tile};
use super::pages::Pages;
use super::parts;
use super::source::Source;
use super::stored::Stored;
use super::weight::{bf16_tiles, panels};

/// Tiles that lie ready, or the rows that they are made of.
pub(super) struct LateTiles {
    shape: [usize; 2],
    ready: OnceLock<Pages<Tile>>,
    /// Until `ready` is filled.
    rows: Mutex<Option<Arc<Rows>>>,
    /// Products so far; no more are counted than matter.
    products: AtomicU8,
}

/// Rows as they are stored.
pub(super) struct Rows {
    shape: [usize; 2],
    numbers: TensorData,
}

impl LateTiles {
    pub(super) fn ready(shape: [usize; 2], tiles: Pages<Tile>) -> Self {
        Self {
            shape,
            ready: OnceLock::from(tiles),
            rows: Mutex::new(None),
            products: AtomicU8::new(0),
        }
    }

    /// Of numbers `[outputs, inputs]` in bfloat16.
    pub(super) fn of_rows(shape: [usize; 2], numbers: TensorData) -> Self {
        Self {
            shape,
            ready: OnceLock::new(),
            rows: Mutex::new(Some(Arc::new(Rows { shape, numbers }))),
            products: AtomicU8::new(0),
        }
    }

    /// All tiles, if they lie ready.
    pub(super) fn all(&self) -> Option<&[Tile]> {
        self.ready.get().map(|tiles| &tiles[..])
    }

    pub(super) fn source(&self) -> Source<'_> {
        // The rows go only after the tiles have come, so that one of them is there.
        loop {
            if let Some(tiles) = self.all() {
                return Source::Ready(tiles);
            }
            if let Some(rows) = &*self.rows() {
                return Source::Rows(rows.clone());
            }
        }
    }

    /// Counts a product, and makes the tiles that stay before the second one. Products that run beside that one do not wait
    /// for them: on a thread of the pool they would wait for themselves.
    pub(super) fn count_product(&self) {
        let counted = |products: u8| (products < 2).then_some(products + 1);
        if self.all().is_some()
            || self
                .products
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
                != Ok(1)
        {
            return;
        }
        let Source::Rows(rows) = self.source() else { return };
        let stored = rows.stored();
        let tiles = bf16_tiles(self.shape, |rows, part, _, tiles| stored.pack(rows, part, tiles));
        if self.ready.set(tiles).is_ok() {
            self.rows().take();
        }
    }

    fn rows(&self) -> MutexGuard<'_, Option<Arc<Rows>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn stored(&self) -> Stored<'_> {
        let values = self.numbers.as_slice::<bf16>();
        Stored {
            values: values.expect("numbers that were checked to be bfloat16"),
            width: self.shape[1],
        }
    }

    /// Fills `tiles` with those from an index on.
    pub(super) fn fill(&self, first: usize, tiles: &mut [Tile]) {
        let stored = self.stored();
        for (offset, tile) in tiles.iter_mut().enumerate() {
            let (rows, columns) = self.place(first + offset);
            stored.tile(rows, columns, tile);
        }
    }

    /// The numbers of one output.
    pub(super) fn row(&self, output: usize) -> &[bf16] {
        let inputs = self.shape[1];
        &self.stored().values[output * inputs..][..inputs]
    }

    /// Rows and columns of the tile at an index; no rows where it only fills a block up.
    fn place(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let [outputs, inputs] = self.shape;
        let panels = panels(outputs);
        let part = parts(inputs).find(|part| index < part.end.div_ceil(DEPTH) * panels);
        let part = part.expect("a tile of the weight");
        let (index, steps) = (index - part.start / DEPTH * panels, part.len().div_ceil(DEPTH));
        let (row, column) = (index / steps * PANEL, part.start + index % steps * DEPTH);
        (
            row.min(outputs)..(row + PANEL).min(outputs),
            column..(column + DEPTH).min(part.end),
        )
    }
}
