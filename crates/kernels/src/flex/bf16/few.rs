//! GEMV and skinny GEMM: products of few rows with the transpose of a packed weight, as in writing word by word: they take the
//! time in which the weight is read, once, if nothing is done to it on the way.

use std::ops::Range;

use rayon::prelude::*;

use super::block::{Start, Target};
use super::fixed::Fixed;
use super::lines::nearest;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::pack::narrow;
use super::pack::{DEPTH, PANEL};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::pairs;
use super::parts;
use super::single;
#[cfg(target_arch = "x86_64")]
use super::tiles;
use super::unit::in_tiles;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::unit::{Unit, unit};
use super::weight::{Tiles, Weight};
use crate::flex::linear::Matrix;
use crate::flex::simd::vectorised;

/// Most rows: with more, to multiply blocks is faster.
const FEW: usize = 16;

/// The same of a weight in bfloat16 where there are no tile registers, at most a [`GROUP`].
pub(super) const FEW_PAIRS: usize = 5;

/// Most rows whose sums are kept in registers together.
pub(super) const GROUP: usize = 8;

/// Whether this is the way to multiply.
pub(super) fn takes(left: &Matrix, weight: &Weight) -> bool {
    let most = match weight.all() {
        Tiles::Bf16(_) if !in_tiles() => FEW_PAIRS,
        _ => FEW,
    };
    left.rows <= most && left.column_stride == 1
}

/// `target = start + left · weightᵀ`, where [`takes`] says so.
///
/// # Safety
///
/// As for [`super::multiply`].
pub(super) unsafe fn multiply(target: Target, left: Matrix, weight: &Weight, start: Start, threads: bool) {
    let columns = left.columns;
    let rows = (0..left.rows).map(|row| &left.values[row * left.row_stride..][..columns]);
    match weight.all() {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        Tiles::Bf16(tiles) if unit() != Unit::Single => {
            let blocks = columns.div_ceil(DEPTH);
            let mut x = vec![[0; DEPTH / 2]; left.rows * blocks];
            for (index, row) in rows.enumerate() {
                pair(row, &mut x[index..], left.rows);
            }
            let source = tiles.source();
            let ready = || {
                #[cfg(target_arch = "x86_64")]
                let registers = in_tiles().then(|| tiles::Configured::for_rows(left.rows));
                let (source, x) = (&source, &x[..]);
                move |range: Range<usize>, first: usize, sums: &mut [[f32; PANEL]]| {
                    let x = &x[first * sums.len()..];
                    source.with(range, |tiles| {
                        #[cfg(target_arch = "x86_64")]
                        if let Some(registers) = &registers {
                            return registers.few(tiles, x, sums);
                        }
                        // SAFETY: the units other than `Single` are found only where there are products of pairs.
                        unsafe { pairs::few(tiles, x, sums) }
                    });
                }
            };
            // SAFETY: as promised by the caller.
            unsafe { each_panel(target, left.rows, weight, start, threads, ready) };
        }
        Tiles::Bf16(tiles) => {
            let blocks = columns.div_ceil(DEPTH);
            let mut x = vec![[0.0; DEPTH]; left.rows * blocks];
            for (index, row) in rows.enumerate() {
                round(row, &mut x[index..], left.rows);
            }
            let source = tiles.source();
            let ready = || {
                let (source, x) = (&source, &x[..]);
                move |range: Range<usize>, first: usize, sums: &mut [[f32; PANEL]]| {
                    let x = &x[first * sums.len()..];
                    source.with(range, |tiles| single::few(tiles, x, sums));
                }
            };
            // SAFETY: as promised by the caller.
            unsafe { each_panel(target, left.rows, weight, start, threads, ready) };
        }
        Tiles::Levels(levels) => {
            let x = Fixed::new(rows);
            let ready = || {
                |range: Range<usize>, first: usize, sums: &mut [[f32; PANEL]]| {
                    x.add(levels.bits(), levels.tiles(range), first, sums);
                }
            };
            // SAFETY: as promised by the caller.
            unsafe { each_panel(target, left.rows, weight, start, threads, ready) };
        }
    }
}

/// Lets each task get `ready`, and calls what it then has for the sums of all rows in each panel of the target, for each part
/// of their length: with the tiles to multiply, and the index of the first of them along a row.
///
/// # Safety
///
/// As for [`super::multiply`].
unsafe fn each_panel<Add: Fn(Range<usize>, usize, &mut [[f32; PANEL]])>(
    target: Target,
    rows: usize,
    weight: &Weight,
    start: Start,
    threads: bool,
    ready: impl Fn() -> Add + Sync,
) {
    let panels = weight.outputs().div_ceil(PANEL);
    let tasks = if threads {
        16 * rayon::current_num_threads()
    } else {
        1
    };
    let share = panels.div_ceil(tasks);
    let work = |task: usize| {
        let add = ready();
        for part in parts(weight.inputs()) {
            let start = if part.start == 0 { start } else { Start::Target };
            for panel in task * share..((task + 1) * share).min(panels) {
                let column = panel * PANEL;
                let width = PANEL.min(weight.outputs() - column);
                let mut sums = [[0.0; PANEL]; FEW];
                let sums = &mut sums[..rows];
                for (row, sums) in sums.iter_mut().enumerate() {
                    match start {
                        Start::Zero => {}
                        // SAFETY: the part lies in the target, which may be read as the caller promises or was written.
                        Start::Target => unsafe {
                            copy(target.at(row, column).first, sums.as_mut_ptr(), width)
                        },
                        // SAFETY: the row is as long as the target's, of which the panel is a part.
                        Start::Row(row) => unsafe {
                            copy(row[column..][..width].as_ptr(), sums.as_mut_ptr(), width)
                        },
                    }
                }
                add(weight.panel(&part, column), part.start / DEPTH, sums);
                for (row, sums) in sums.iter().enumerate() {
                    // SAFETY: the part lies in the target, and tasks share no panel.
                    unsafe { copy(sums.as_ptr(), target.at(row, column).first, width) };
                }
            }
        }
    };
    match threads {
        true => (0..tasks).into_par_iter().for_each(work),
        false => (0..tasks).for_each(work),
    }
}

/// Copies part of a panel; a whole one without the way to the library, which takes longer than to copy so little.
///
/// # Safety
///
/// As for [`std::ptr::copy_nonoverlapping`]; no more than a panel.
#[inline]
unsafe fn copy(source: *const f32, target: *mut f32, width: usize) {
    // SAFETY: as promised by the caller.
    unsafe {
        if width == PANEL {
            target
                .cast::<[f32; PANEL]>()
                .write(source.cast::<[f32; PANEL]>().read());
        } else {
            target.copy_from_nonoverlapping(source, width);
        }
    }
}

vectorised! {
    /// Rounds to bfloat16 in single precision, in blocks that are `stride` apart.
    fn round(row: &[f32], target: &mut [[f32; DEPTH]], stride: usize) {
        for (values, target) in row.chunks(DEPTH).zip(target.iter_mut().step_by(stride)) {
            for (value, target) in values.iter().zip(target) {
                *target = nearest(*value);
            }
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
vectorised! {
    /// Rounds to pairs of bfloat16, the first of a pair in the lower half, in blocks that are `stride` apart.
    fn pair(row: &[f32], target: &mut [[u32; DEPTH / 2]], stride: usize) {
        for (values, target) in row.chunks(DEPTH).zip(target.iter_mut().step_by(stride)) {
            let (pairs, rest) = values.as_chunks::<2>();
            for (index, pair) in pairs.iter().enumerate() {
                target[index] = u32::from(narrow(pair[0])) | u32::from(narrow(pair[1])) << 16;
            }
            if let [last] = rest {
                target[pairs.len()] = u32::from(narrow(*last));
            }
        }
    }
}
