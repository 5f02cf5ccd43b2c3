//! The two passes of Pillow's antialiased bicubic resizing: 8-bit sums with coefficients in 22-bit fixed point.
//! Reference: Pillow 13's `Image.resize(..., BICUBIC)`.

use multiversion::multiversion;

/// Fraction bits of a coefficient: 32 less 8 for the pixel and 2 for the sign and the overshoot of the kernel.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Half a unit in fixed point: where every sum starts, so that the final shift rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);
/// The kernel's reach in source pixels when it is not stretched.
const SUPPORT: f64 = 2.0;
/// The sharpness of the bicubic kernel that Pillow uses.
const SHARPNESS: f64 = -0.5;
/// Bytes that are summed side by side. More would not stay in registers.
const LANES: usize = 32;

/// For each output position, the first source position it reads and its weights.
pub(super) struct Kernel(Vec<(usize, Vec<i32>)>);

impl Kernel {
    /// From `old` source positions to `new`; both at least 1.
    pub(super) fn new(old: usize, new: usize) -> Self {
        let scale = old as f64 / new as f64;
        // Shrinking stretches the kernel over every source pixel that an output pixel covers: the antialiasing.
        let stretch = scale.max(1.0);
        let reach = SUPPORT * stretch;
        let position = |out: usize| {
            let centre = (out as f64 + 0.5) * scale;
            // `as usize` cuts towards zero and stops at 0, as Pillow's cast and clamp do.
            let first = (centre - reach + 0.5) as usize;
            let end = ((centre + reach + 0.5) as usize).min(old);
            let weights: Vec<f64> = (first..end)
                .map(|source| bicubic((source as f64 - centre + 0.5) / stretch))
                .collect();
            let total: f64 = weights.iter().sum();
            (
                first,
                weights.iter().map(|weight| fixed_point(weight / total)).collect(),
            )
        };
        Self((0..new).map(position).collect())
    }

    /// Gives the outputs in the opposite order: a mirror image at no cost.
    pub(super) fn mirror(&mut self) {
        self.0.reverse();
    }
}

fn bicubic(distance: f64) -> f64 {
    let x = distance.abs();
    if x < 1.0 {
        ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * SHARPNESS
    } else {
        0.0
    }
}

/// Rounds half away from zero.
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION_BITS);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// Resizes every row (`width * CHANNELS` bytes, at least one row) to the width of the kernel; rows without gaps.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn horizontal_pass<const CHANNELS: usize>(rows: &[&[u8]], kernel: &Kernel) -> Vec<u8> {
    let together = const { LANES / CHANNELS };
    let stride = kernel.0.len() * CHANNELS;
    let mut output = vec![0; rows.len() * stride];
    // Pixels that share a column lie side by side, so that one weight serves them all at once.
    let mut columns = vec![[0; LANES]; rows[0].len() / CHANNELS];
    for (rows, output) in rows.chunks(together).zip(output.chunks_mut(together * stride)) {
        for (index, row) in rows.iter().enumerate() {
            for (column, pixel) in columns.iter_mut().zip(row.as_chunks::<CHANNELS>().0) {
                column.as_chunks_mut().0[index] = *pixel;
            }
        }
        let output = output.as_chunks_mut::<CHANNELS>().0;
        for (column, (first, weights)) in kernel.0.iter().enumerate() {
            let pixels = weigh(columns[*first..].iter(), weights);
            let places = output[column..].iter_mut().step_by(kernel.0.len());
            for (place, pixel) in places.zip(pixels.as_chunks().0) {
                *place = *pixel;
            }
        }
    }
    output
}

/// Resizes rows of equal length, at least one, to as many as the kernel has positions; rows without gaps.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn vertical_pass(rows: &[&[u8]], kernel: &Kernel) -> Vec<u8> {
    let stride = rows[0].len();
    let mut output = vec![0; kernel.0.len() * stride];
    for ((first, weights), output) in kernel.0.iter().zip(output.chunks_exact_mut(stride)) {
        let rows = &rows[*first..];
        let (blocks, rest) = output.as_chunks_mut::<LANES>();
        for (index, block) in blocks.iter_mut().enumerate() {
            *block = weigh(rows.iter().map(|row| &row.as_chunks().0[index]), weights);
        }
        let done = blocks.len() * LANES;
        for (byte, column) in rest.iter_mut().zip(done..) {
            [*byte] = weigh(rows.iter().map(|row| std::array::from_ref(&row[column])), weights);
        }
    }
    output
}

/// The weighted sum of as many sources as there are weights, `WIDTH` bytes at once.
#[inline(always)]
fn weigh<'a, const WIDTH: usize>(
    mut sources: impl Iterator<Item = &'a [u8; WIDTH]>,
    weights: &[i32],
) -> [u8; WIDTH] {
    let mut sums = [HALF; WIDTH];
    for weight in weights {
        // A way out in the middle, which is never taken: without it AVX2 code turns eight sources at a time around, and all of
        // their sums go through memory.
        let Some(source) = sources.next() else { break };
        for (sum, byte) in sums.iter_mut().zip(source) {
            *sum += i32::from(*byte) * weight;
        }
    }
    let mut bytes = [0; WIDTH];
    for (byte, sum) in bytes.iter_mut().zip(sums) {
        *byte = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
    }
    bytes
}
