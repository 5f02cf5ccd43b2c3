//! GEMM in bfloat16: matrix products by units that multiply bfloat16 and sum in single precision: of operands rounded to it, or
//! of numbers in single precision, each as the sum of three, which is as precise as products of single precision are.
//!
//! The operand that spans the shorter side of the target is packed once and shared; the other is packed strip by
//! strip, each by the task that multiplies it, so that it is still in the cache. The order of a sum depends on its
//! length alone.

mod block;
mod few;
mod fixed;
mod late;
pub(crate) mod levels;
mod lines;
mod pack;
mod pages;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cfg_attr(target_arch = "aarch64", path = "pairs_arm.rs")]
mod pairs;
#[cfg(target_arch = "x86_64")]
mod quads;
mod quantise;
mod single;
mod source;
mod stored;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod turn;
mod unit;
pub(crate) mod weight;
#[cfg(target_arch = "x86_64")]
mod wide;
#[cfg(target_arch = "x86_64")]
mod words;

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::linear::Matrix;
use block::{BLOCK, Engine};
use pack::{DEPTH, Form, PANEL, Tile, pack};
use weight::Weight;

pub(crate) use block::{Start, Target};
pub(crate) use pack::Digits;
pub(crate) use unit::{in_tiles, multiplies};

/// Longest part of the sums that is packed at a time.
const LONGEST: usize = 2048;

/// Rows or columns of the target that a task computes.
const STRIP: Range<usize> = 64..256;

/// Tiles of the strip of an operand that a task packs, at most: they stay in the second cache beside what runs past them.
const STRIP_TILES: usize = 1000;

/// The right operand of a product.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// A matrix, to be packed on the way.
    Matrix(Matrix<'a>),
    /// The transpose of a packed weight.
    Transposed(&'a Weight),
    /// A packed weight as it is.
    Straight(&'a Weight),
}

impl Right<'_> {
    /// Columns of the target.
    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.columns,
            Self::Transposed(weight) => weight.outputs(),
            Self::Straight(weight) => weight.inputs(),
        }
    }

    /// Length of the sums.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.rows,
            Self::Transposed(weight) => weight.inputs(),
            Self::Straight(weight) => weight.outputs(),
        }
    }
}

/// `target = start + left · right`.
///
/// # Safety
///
/// The target must be valid for writing `left.rows` rows of as many numbers as `right` has columns and, with
/// [`Start::Target`], for reading them; nobody else may use it meanwhile.
pub(crate) unsafe fn multiply(
    target: Target,
    left: Matrix,
    right: Right,
    start: Start,
    digits: Digits,
    threads: bool,
) {
    if let Right::Transposed(weight) | Right::Straight(weight) = right {
        weight.count_product();
    }
    if let Right::Transposed(weight) = right
        && few::takes(&left, weight)
    {
        // SAFETY: as promised by the caller.
        return unsafe { few::multiply(target, left, weight, start, threads) };
    }
    for depth in parts(left.columns) {
        let product = Product {
            target,
            left,
            right,
            digits,
            start: if depth.start == 0 { start } else { Start::Target },
            depth,
        };
        // SAFETY: as promised by the caller; from the second part on, the first has written the target.
        unsafe { product.run(threads) };
    }
}

/// The parts of a sum that are packed one after the other; all but the last are whole tiles.
fn parts(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let count = depth.div_ceil(LONGEST).max(1);
    let part = depth.div_ceil(count).next_multiple_of(DEPTH).max(DEPTH);
    (0..depth)
        .step_by(part)
        .map(move |first| first..(first + part).min(depth))
}

/// What one part of the sums adds to the target.
struct Product<'a> {
    target: Target,
    left: Matrix<'a>,
    right: Right<'a>,
    /// Of both operands; packed weights have one.
    digits: Digits,
    depth: Range<usize>,
    start: Start<'a>,
}

/// A packed range of rows, or of columns, of the target.
#[derive(Clone, Copy)]
struct Packed<'a> {
    tiles: &'a [Tile],
    first: usize,
}

impl Product<'_> {
    /// # Safety
    ///
    /// As for [`multiply`].
    unsafe fn run(&self, threads: bool) {
        let (rows, columns) = (self.left.rows, self.right.columns());
        // The strips cut the longer side; a packed weight is used as it lies.
        let by_rows = rows > columns && matches!(self.right, Right::Matrix(_));
        let (shared, cut) = if by_rows { (columns, rows) } else { (rows, columns) };
        let tasks = if threads {
            4 * rayon::current_num_threads()
        } else {
            1
        };
        let strip = cut
            .div_ceil(tasks)
            .clamp(STRIP.start, STRIP.end)
            .min(STRIP_TILES / self.panel() * PANEL / BLOCK * BLOCK)
            .next_multiple_of(BLOCK);
        let strips = cut.div_ceil(strip);
        with_tiles(self.tiles(shared), |tiles| {
            let share = |(index, tiles): (usize, &mut [Tile])| self.pack(!by_rows, index * strip, tiles);
            let pieces = self.tiles(strip);
            match threads {
                true => tiles.par_chunks_mut(pieces).enumerate().for_each(share),
                false => tiles.chunks_mut(pieces).enumerate().for_each(share),
            }
            let shared = Packed { tiles, first: 0 };
            let work = |index: usize| {
                let first = index * strip;
                let multiply = |tiles: &[Tile]| {
                    let own = Packed { tiles, first };
                    let (rows, columns) = if by_rows { (own, shared) } else { (shared, own) };
                    // SAFETY: as promised by the caller; the strips do not overlap.
                    unsafe { self.strip(by_rows, rows, columns) };
                };
                let width = strip.min(cut - first);
                if self.digits == Digits::One
                    && let Right::Transposed(weight) = self.right
                    && let Some(tiles) = weight.tiles(&self.depth, first, width)
                {
                    return multiply(tiles);
                }
                with_tiles(self.tiles(width), |tiles| {
                    self.pack(by_rows, first, tiles);
                    multiply(tiles);
                });
            };
            match threads {
                true => (0..strips).into_par_iter().for_each(work),
                false => (0..strips).for_each(work),
            }
        });
    }

    /// Tiles that hold some rows, or columns, of the target.
    fn tiles(&self, count: usize) -> usize {
        count.next_multiple_of(BLOCK) / PANEL * self.panel()
    }

    /// Tiles of a panel.
    fn panel(&self) -> usize {
        self.digits.panel(self.depth.len())
    }

    /// Packs as many rows of the left operand, or columns of the right one, as `tiles` holds.
    fn pack(&self, left: bool, first: usize, tiles: &mut [Tile]) {
        let depth = self.depth.clone();
        match self.right {
            _ if left => pack(self.left, first, depth, Form::Rows, self.digits, tiles),
            Right::Matrix(right) => pack(right.transposed(), first, depth, Form::Pairs, self.digits, tiles),
            Right::Transposed(weight) => weight.unpack_tiles(&depth, first, self.digits, tiles),
            Right::Straight(weight) => weight.turn_tiles(&depth, first, self.digits, tiles),
        }
    }

    /// Computes the part of the target that packed rows and columns span. The operand of which there is one strip
    /// runs inside, over each block of the other, the next of which is fetched meanwhile.
    ///
    /// # Safety
    ///
    /// As for [`multiply`], for that part of the target.
    unsafe fn strip(&self, by_rows: bool, rows: Packed, columns: Packed) {
        let engine = Engine::new(self.digits);
        let pair = 2 * self.panel();
        let size = [self.left.rows, self.right.columns()];
        let (outside, inside) = if by_rows { (columns, rows) } else { (rows, columns) };
        let (blocks, outside) = (inside.tiles.len() / pair, outside.tiles);
        for (outer, tiles) in outside.chunks_exact(pair).enumerate() {
            for inner in 0..blocks {
                let (row, column) = if by_rows { (inner, outer) } else { (outer, inner) };
                let (left, right) = (
                    &rows.tiles[row * pair..][..pair],
                    &columns.tiles[column * pair..][..pair],
                );
                let (row, column) = (rows.first + row * BLOCK, columns.first + column * BLOCK);
                let ahead = tiles
                    .as_ptr_range()
                    .end
                    .wrapping_byte_add(inner * Engine::ahead(pair));
                // SAFETY: the block lies in the part of the target that is spanned.
                unsafe {
                    engine.block(
                        [left, right],
                        ahead,
                        self.target.at(row, column),
                        [BLOCK.min(size[0] - row), BLOCK.min(size[1] - column)],
                        self.start.at(column),
                    )
                };
            }
        }
    }
}

/// Calls `work` with `count` tiles of whatever content. The thread keeps the memory for the next call, so that its
/// pages need not be fetched again.
fn with_tiles(count: usize, work: impl FnOnce(&mut [Tile])) {
    thread_local! {
        static TILES: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
    }
    // While `work` waits for other threads, rayon may run other work on this one: that finds no memory and makes its own.
    let mut tiles = TILES.take();
    if tiles.len() < count {
        tiles = vec![Tile::default(); count];
    }
    work(&mut tiles[..count]);
    TILES.set(tiles);
}
