//! GEMM by Arm's `bfdot`: four sums a vector, each of a pair of columns and a pair of the row that a lane holds. The compiler has
//! no name for it yet, so it stands here as the instruction itself.

use std::arch::aarch64::{
    float32x4_t, uint32x4_t, vdupq_n_f32, vdupq_n_u32, vld1q_f32, vld1q_u32, vst1q_f32,
};
use std::arch::asm;

use super::block::{Initial, Target};
use super::few::FEW_PAIRS;
use super::pack::{PANEL, Tile};

/// Numbers of a vector.
const WIDTH: usize = 4;

/// Vectors that hold a row of a panel's sums.
const VECTORS: usize = PANEL / WIDTH;

/// Rows that are summed at a time: with four vectors each they fill half of the registers.
const ROWS: usize = 4;

/// At least the first `rows` of a block of the target, from two panels of each operand.
///
/// # Safety
///
/// The processor must have the instructions, both operands be of one length, the target valid for writing a block, and
/// `initial` for reading one.
#[target_feature(enable = "neon,bf16")]
pub(super) unsafe fn block(
    left: &[Tile],
    right: &[Tile],
    target: Target,
    rows: usize,
    initial: Option<Initial>,
) {
    let depth = left.len() / 2;
    for row in (0..rows).step_by(ROWS) {
        let left = &left[row / PANEL * depth..][..depth];
        for half in 0..2 {
            let right = &right[half * depth..][..depth];
            let mut sums = [[vdupq_n_f32(0.0); VECTORS]; ROWS];
            if let Some(initial) = initial {
                for index in 0..ROWS {
                    for vector in 0..VECTORS {
                        let column = half * PANEL + vector * WIDTH;
                        // SAFETY: the caller promises that `initial` may be read.
                        sums[index][vector] =
                            unsafe { vld1q_f32(initial.first.add((row + index) * initial.stride + column)) };
                    }
                }
            }
            let rows = left
                .iter()
                .map(|tile| &tile.0.as_chunks::<PANEL>().0[row % PANEL..][..ROWS]);
            multiply::<ROWS>(&mut sums, rows.zip(right));
            for index in 0..ROWS {
                for vector in 0..VECTORS {
                    let column = half * PANEL + vector * WIDTH;
                    // SAFETY: the caller promises that the target may be written.
                    unsafe { vst1q_f32(target.at(row + index, column).first, sums[index][vector]) };
                }
            }
        }
    }
}

/// Adds the products of a few rows of pairs, the first blocks of all of them before their second ones, with the tiles of a panel.
#[target_feature(enable = "neon,bf16")]
pub(super) fn few(tiles: &[Tile], x: &[[u32; PANEL]], sums: &mut [[f32; PANEL]]) {
    match sums.len() {
        1 => few_rows::<1>(tiles, x, sums),
        2 => few_rows::<2>(tiles, x, sums),
        3 => few_rows::<3>(tiles, x, sums),
        4 => few_rows::<4>(tiles, x, sums),
        rows => {
            assert_eq!(rows, FEW_PAIRS, "rows are few");
            few_rows::<FEW_PAIRS>(tiles, x, sums);
        }
    }
}

#[inline]
#[target_feature(enable = "neon,bf16")]
fn few_rows<const ROWS: usize>(tiles: &[Tile], x: &[[u32; PANEL]], target: &mut [[f32; PANEL]]) {
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; ROWS];
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            // SAFETY: the slice holds a vector.
            sums[row][vector] = unsafe { vld1q_f32(target[row][vector * WIDTH..][..WIDTH].as_ptr()) };
        }
    }
    multiply::<ROWS>(&mut sums, x.chunks_exact(ROWS).zip(tiles));
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            // SAFETY: as above.
            unsafe {
                vst1q_f32(
                    target[row][vector * WIDTH..][..WIDTH].as_mut_ptr(),
                    sums[row][vector],
                )
            };
        }
    }
}

/// Adds the products of rows of 16 pairs with a tile, and with the next. Vectors in loops over indices alone: iterators of vectors
/// would not be inlined here, and every sum would go through memory.
#[inline]
#[target_feature(enable = "neon,bf16")]
fn multiply<'a, const ROWS: usize>(
    sums: &mut [[float32x4_t; VECTORS]; ROWS],
    operands: impl Iterator<Item = (&'a [[u32; PANEL]], &'a Tile)>,
) {
    let mut total = *sums;
    for (rows, right) in operands {
        for four in 0..PANEL / WIDTH {
            let mut pairs = [vdupq_n_u32(0); ROWS];
            for row in 0..ROWS {
                pairs[row] = load(&rows[row], four * WIDTH);
            }
            multiply_lane::<0, ROWS>(&mut total, &pairs, right, four);
            multiply_lane::<1, ROWS>(&mut total, &pairs, right, four);
            multiply_lane::<2, ROWS>(&mut total, &pairs, right, four);
            multiply_lane::<3, ROWS>(&mut total, &pairs, right, four);
        }
    }
    *sums = total;
}

/// Adds the products of the pairs that a lane holds with a row of the tile.
#[inline]
#[target_feature(enable = "neon,bf16")]
fn multiply_lane<const LANE: usize, const ROWS: usize>(
    sums: &mut [[float32x4_t; VECTORS]; ROWS],
    pairs: &[uint32x4_t; ROWS],
    right: &Tile,
    four: usize,
) {
    for vector in 0..VECTORS {
        let columns = load(&right.0, (four * WIDTH + LANE) * PANEL + vector * WIDTH);
        for row in 0..ROWS {
            // SAFETY: the instruction, which the caller knows to be there, touches nothing but these registers.
            unsafe {
                asm!(
                    "bfdot {sum:v}.4s, {columns:v}.8h, {pairs:v}.2h[{lane}]",
                    sum = inout(vreg) sums[row][vector],
                    columns = in(vreg) columns,
                    pairs = in(vreg) pairs[row],
                    lane = const LANE,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// The pairs from a place on.
#[inline]
#[target_feature(enable = "neon")]
fn load(pairs: &[u32], place: usize) -> uint32x4_t {
    // SAFETY: the slice holds a vector.
    unsafe { vld1q_u32(pairs[place..][..WIDTH].as_ptr()) }
}
