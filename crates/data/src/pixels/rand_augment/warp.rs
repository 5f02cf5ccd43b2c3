//! Shears, shifts and turns with OpenCV's arithmetic: places in 1/1024 of a pixel, weights in 1/32.

use super::GREY;
use crate::pixels::RgbImage;

/// Steps of a place in a pixel, of which the weights see the upper ones.
const PLACE: f64 = 1024.0;
const WEIGHT_BITS: u32 = 5;
const DROPPED_BITS: u32 = 5;
/// Half of the steps that are dropped.
const ROUNDING: i32 = 1 << (DROPPED_BITS - 1);

/// Where a pixel goes to: `[x, y, 1]` times these two rows.
type Matrix = [f64; 6];

/// A matrix as LAVIS gives it to OpenCV, in single precision.
pub(super) fn matrix(across: [f64; 3], down: [f64; 3]) -> Matrix {
    let [a, b, c] = across.map(|value| f64::from(value as f32));
    let [d, e, f] = down.map(|value| f64::from(value as f32));
    [a, b, c, d, e, f]
}

/// A turn about the centre by `degrees`, against the clock: `getRotationMatrix2D`.
pub(super) fn rotation(picture: &RgbImage, degrees: f64) -> Matrix {
    let (x, y) = (
        f64::from(picture.width()) / 2.0,
        f64::from(picture.height()) / 2.0,
    );
    let (sine, cosine) = degrees.to_radians().sin_cos();
    [
        cosine,
        sine,
        (1.0 - cosine) * x - sine * y,
        -sine,
        cosine,
        sine * x + (1.0 - cosine) * y,
    ]
}

/// Moves every pixel as `matrix` says, with grey where nothing was.
pub(super) fn warp(picture: &mut RgbImage, matrix: Matrix) {
    let [a, b, c, d, e, f] = inverse(matrix);
    let before = picture.clone();
    let fixed = |value: f64| (value * PLACE).round_ties_even() as i32;
    for (column, row, pixel) in picture.enumerate_pixels_mut() {
        let (column, row) = (f64::from(column), f64::from(row));
        let x = fixed(b * row + c) + ROUNDING + fixed(a * column);
        let y = fixed(e * row + f) + ROUNDING + fixed(d * column);
        pixel.0 = between(&before, x >> DROPPED_BITS, y >> DROPPED_BITS);
    }
}

/// The colour at a place in 1/32 of a pixel, from the four pixels around it.
fn between(picture: &RgbImage, x: i32, y: i32) -> [u8; 3] {
    let whole = 1 << WEIGHT_BITS;
    let (right, below) = ((x & (whole - 1)) as u32, (y & (whole - 1)) as u32);
    let (left, above) = (whole as u32 - right, whole as u32 - below);
    let (x, y) = (x >> WEIGHT_BITS, y >> WEIGHT_BITS);
    let corners = [
        (x, y, left * above),
        (x + 1, y, right * above),
        (x, y + 1, left * below),
        (x + 1, y + 1, right * below),
    ];
    let mut sums = [1 << (2 * WEIGHT_BITS - 1); 3];
    for (x, y, weight) in corners {
        let inside = u32::try_from(x).ok().zip(u32::try_from(y).ok());
        let colour = inside.and_then(|(x, y)| picture.get_pixel_checked(x, y));
        let colour = colour.map_or([GREY; 3], |pixel| pixel.0);
        for (sum, value) in sums.iter_mut().zip(colour) {
            *sum += weight * u32::from(value);
        }
    }
    sums.map(|sum| (sum >> (2 * WEIGHT_BITS)) as u8)
}

/// Where a pixel comes from, with the operations in OpenCV's order.
fn inverse([a, b, c, d, e, f]: Matrix) -> Matrix {
    let determinant = a * e - b * d;
    let scale = if determinant == 0.0 {
        0.0
    } else {
        1.0 / determinant
    };
    let (a, b, d, e) = (e * scale, -b * scale, -d * scale, a * scale);
    [a, b, -a * c - b * f, d, e, -d * c - e * f]
}
