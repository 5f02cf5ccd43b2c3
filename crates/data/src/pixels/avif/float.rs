//! Colour to RGB in floating point, as libavif does it where libyuv has no matrix, operation for operation.

use super::properties::Colour;
use crate::pixels::decode::Refusal;

/// How red, green and blue follow from brightness and two differences of colour.
enum Matrix {
    /// Shares of red, green and blue in brightness.
    Shares([f32; 3]),
    /// The planes are green, blue and red themselves.
    Identity,
    /// Differences of green and of orange.
    YCgCo,
}

pub(super) struct Conversion {
    matrix: Matrix,
    /// Black and the distance from there to white, of brightness and of colour.
    brightness: (f32, f32),
    colour: (f32, f32),
    /// The largest code.
    most: f32,
}

impl Conversion {
    pub(super) fn of(colour: Colour, bits: u32, is_grey: bool, is_halved: bool) -> Result<Self, Refusal> {
        let matrix = match colour.matrix {
            0 if !is_halved => Matrix::Identity,
            8 if colour.is_full => Matrix::YCgCo,
            matrix => {
                let [red, blue] = match matrix {
                    1 => [0.2126, 0.0722],
                    4 => [0.30, 0.11],
                    7 => [0.212, 0.087],
                    9 => [0.2627, 0.0593],
                    2 | 5 | 6 | 15 => [0.299, 0.114],
                    // Derived from the primaries: grey has no use for the shares.
                    12 if is_grey || matches!(colour.primaries, 1 | 2 | 5 | 6 | 9) => [0.299, 0.114],
                    _ => {
                        return Err(Refusal::NotAPicture(format!(
                            "its colour matrix {matrix} (of primaries {}) is not read",
                            colour.primaries
                        )));
                    }
                };
                Matrix::Shares([red, 1.0 - red - blue, blue])
            }
        };
        let most = ((1u32 << bits) - 1) as f32;
        let scale = (1u32 << (bits - 8)) as f32;
        let half = (1u32 << (bits - 1)) as f32;
        let (brightness, differences) = if colour.is_full {
            ((0.0, most), (half, most))
        } else {
            ((16.0 * scale, 219.0 * scale), (half, 224.0 * scale))
        };
        Ok(Self {
            colour: if matches!(matrix, Matrix::Identity) {
                brightness
            } else {
                differences
            },
            matrix,
            brightness,
            most,
        })
    }

    /// Whether libavif converts by its general rule, which also divides by opacity, and not by one of its faster ones.
    pub(super) fn is_general(&self, is_halved: bool) -> bool {
        is_halved || !matches!(self.matrix, Matrix::Shares(_)) && !self.copies()
    }

    /// Whether RGB is stored as it is.
    fn copies(&self) -> bool {
        matches!(self.matrix, Matrix::Identity) && self.brightness == (0.0, 255.0)
    }

    fn unit(code: u16, (black, distance): (f32, f32)) -> f32 {
        (f32::from(code) - black) / distance
    }

    /// A sample of colour.
    pub(super) fn difference(&self, code: u16) -> f32 {
        Self::unit(code, self.colour)
    }

    /// The sample between its neighbours: the nearest, those beside and below, the last.
    pub(super) fn between(&self, samples: [u16; 4]) -> f32 {
        let [nearest, beside, below, across] = samples.map(|code| self.difference(code));
        nearest * (9.0 / 16.0) + beside * (3.0 / 16.0) + below * (3.0 / 16.0) + across * (1.0 / 16.0)
    }

    /// Red, green and blue from 0 to 1 of a code of brightness and two differences of colour, where there is colour.
    pub(super) fn rgb(&self, brightness: u16, differences: Option<[f32; 2]>) -> [f32; 3] {
        let grey = Self::unit(brightness, self.brightness);
        let rgb = match (&self.matrix, differences) {
            (_, None) => [grey; 3],
            (Matrix::Shares([red, green, blue]), Some([by_blue, by_red])) => [
                grey + (2.0 * (1.0 - red)) * by_red,
                grey - ((2.0 * ((red * (1.0 - red) * by_red) + (blue * (1.0 - blue) * by_blue))) / green),
                grey + (2.0 * (1.0 - blue)) * by_blue,
            ],
            (Matrix::Identity, Some([blue, red])) => [red, grey, blue],
            (Matrix::YCgCo, Some([green, orange])) => {
                let rest = grey - green;
                [rest + orange, grey + green, rest - orange]
            }
        };
        rgb.map(|value| value.clamp(0.0, 1.0))
    }

    /// Undoes the multiplication by a code of opacity.
    pub(super) fn divided(&self, value: f32, alpha: u16) -> f32 {
        match f32::from(alpha) / self.most {
            0.0 => 0.0,
            alpha if alpha < 1.0 => (value / alpha).min(1.0),
            _ => value,
        }
    }

    /// A code as the nearest of 8 bits.
    pub(super) fn narrowed(code: u16, bits: u32) -> u8 {
        byte(f32::from(code) / ((1u32 << bits) - 1) as f32)
    }
}

/// The nearest of 256 steps.
pub(super) fn byte(value: f32) -> u8 {
    (0.5 + value * 255.0) as u8
}
