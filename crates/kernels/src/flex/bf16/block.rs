//! GEMM micro-kernel: products of two blocks, each of two packed panels.

use super::pack::{Digits, PANEL, Tile};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::pairs;
use super::single;
#[cfg(target_arch = "x86_64")]
use super::tiles;
use super::unit::{Unit, unit};

/// Rows and columns of the target that are computed at a time.
pub(super) const BLOCK: usize = 2 * PANEL;

/// Blocks in whose time another block's operand is fetched.
const AHEAD: usize = 8;

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing.
    Zero,
    /// What the target holds.
    Target,
    /// This row, as long as the target's.
    Row(&'a [f32]),
}

impl<'a> Start<'a> {
    /// The start of the block that begins at a column.
    pub(super) fn at(self, column: usize) -> Self {
        match self {
            Self::Row(row) => Self::Row(&row[column..]),
            other => other,
        }
    }
}

/// Where a product goes: rows in memory that may be written by several threads, each in its own part.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The first number.
    pub(crate) first: *mut f32,
    /// Distance between rows.
    pub(crate) stride: usize,
}

// SAFETY: to use the pointer is unsafe, and who does so promises that nobody else uses that part of the target.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The part that begins at a row and a column.
    ///
    /// # Safety
    ///
    /// It must lie in the target.
    pub(super) unsafe fn at(self, row: usize, column: usize) -> Self {
        Self {
            // SAFETY: as promised by the caller.
            first: unsafe { self.first.add(row * self.stride + column) },
            ..self
        }
    }
}

/// Rows of [`BLOCK`] numbers that the sums of a block start from.
#[derive(Clone, Copy)]
pub(super) struct Initial {
    pub(super) first: *const f32,
    /// Distance between rows; zero where all are the same.
    pub(super) stride: usize,
}

/// The unit that multiplies, ready to do so on this thread as long as it lives.
pub(super) struct Engine {
    unit: Unit,
    digits: Digits,
    #[cfg(target_arch = "x86_64")]
    _tiles: Option<tiles::Configured>,
}

impl Engine {
    pub(super) fn new(digits: Digits) -> Self {
        Self {
            unit: unit(),
            digits,
            #[cfg(target_arch = "x86_64")]
            _tiles: (unit() == Unit::Tiles).then(tiles::Configured::new),
        }
    }

    /// Bytes that are fetched ahead for each block of operands of so many tiles.
    pub(super) fn ahead(tiles: usize) -> usize {
        tiles * size_of::<Tile>() / AHEAD
    }

    /// `target = start + left · right` for a block of `[rows, columns]`, at most [`BLOCK`] each. The operands are two
    /// packed panels each; what lies `ahead` is fetched on the way.
    ///
    /// # Safety
    ///
    /// The target must be valid for writing the block and, with [`Start::Target`], for reading it.
    pub(super) unsafe fn block(
        &self,
        operands: [&[Tile]; 2],
        ahead: *const Tile,
        target: Target,
        [rows, columns]: [usize; 2],
        start: Start,
    ) {
        if [rows, columns] == [BLOCK; 2] {
            let initial = match start {
                Start::Zero => None,
                Start::Target => Some(Initial {
                    first: target.first,
                    stride: target.stride,
                }),
                Start::Row(row) => Some(Initial {
                    first: row[..BLOCK].as_ptr(),
                    stride: 0,
                }),
            };
            // SAFETY: as promised by the caller for the target; the row was checked for its length.
            return unsafe { self.whole(operands, ahead, target, [rows, columns], initial) };
        }
        let mut buffer = [[0.0; BLOCK]; BLOCK];
        for (index, buffer) in buffer.iter_mut().enumerate().take(rows) {
            match start {
                Start::Zero => {}
                // SAFETY: the caller promises that the block may be read.
                Start::Target => buffer[..columns].copy_from_slice(unsafe {
                    std::slice::from_raw_parts(target.at(index, 0).first, columns)
                }),
                Start::Row(row) => buffer[..columns].copy_from_slice(&row[..columns]),
            }
        }
        let inside = Target {
            first: buffer.as_mut_ptr().cast(),
            stride: BLOCK,
        };
        let initial = Initial {
            first: inside.first,
            stride: BLOCK,
        };
        // SAFETY: the buffer is a whole block; the caller promises that rows and columns of the target may be written.
        unsafe {
            self.whole(operands, ahead, inside, [rows, columns], Some(initial));
            for index in 0..rows {
                let row = inside.at(index, 0).first;
                row.copy_to_nonoverlapping(target.at(index, 0).first, columns);
            }
        }
    }

    /// Computes at least the first rows and columns of a whole block.
    ///
    /// # Safety
    ///
    /// The target must be valid for writing a whole block, and `initial` for reading one.
    unsafe fn whole(
        &self,
        [left, right]: [&[Tile]; 2],
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_variables, reason = "tiles alone are fetched ahead")
        )]
        ahead: *const Tile,
        target: Target,
        [rows, columns]: [usize; 2],
        initial: Option<Initial>,
    ) {
        assert!(
            left.len() == right.len() && left.len().is_multiple_of(2 * self.digits.tiles()),
            "two panels of one depth"
        );
        match (self.unit, self.digits) {
            // SAFETY: as promised by the caller; the tiles are configured, and the panels are as long as asserted.
            #[cfg(target_arch = "x86_64")]
            (Unit::Tiles, Digits::One | Digits::Three) => unsafe {
                return tiles::block(left, right, ahead, self.digits, target, initial);
            },
            // SAFETY: as promised by the caller; the unit was found, and the panels are as long as asserted.
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            (Unit::Pairs, Digits::One) => unsafe {
                return pairs::block(left, right, target, rows, initial);
            },
            _ => {}
        }
        assert!(
            matches!(self.digits, Digits::Single | Digits::Rounded),
            "digits only where a unit multiplies them"
        );
        // SAFETY: as promised by the caller.
        unsafe { single::block(left, right, target, [rows, columns], initial) }
    }
}
