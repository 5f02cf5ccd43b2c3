//! RandAugment as LAVIS's `blip_image_train` has it: two operations drawn from ten, each done with probability one half.
//! Reference: `lavis/processors/randaugment.py`, whose pixels come from OpenCV 4.5.

mod tables;
mod warp;

use super::RgbImage;
use crate::Stream;

/// The strongest level.
const MOST: f32 = 10.0;
/// What comes into view from outside of the picture.
const GREY: u8 = 128;

/// Which operations follow the crop, and how strong they are.
#[derive(Clone, Debug, PartialEq)]
pub struct RandAugment {
    /// How many operations are drawn, with replacement.
    pub draws: usize,
    /// The strength, from 0 to 10.
    pub level: f32,
    /// What contrast is stretched by.
    pub contrast: ContrastStretch,
}

/// How `AutoContrast` stretches the values of a channel to 0..255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContrastStretch {
    /// As Pillow's `ImageOps.autocontrast`, which LAVIS means to do.
    Pillow,
    /// As LAVIS does it: there the negative of the smallest value, a byte, wraps around, so a channel in which it is not 0
    /// becomes white.
    Lavis,
}

/// One of the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Nothing.
    Identity,
    /// Stretches each channel to the whole range.
    AutoContrast,
    /// Multiplies all values.
    Brightness,
    /// Moves values away from the mean of their neighbours.
    Sharpness,
    /// Makes all values of a channel equally frequent.
    Equalize,
    /// Moves rows by their number.
    ShearX,
    /// Moves columns by their number.
    ShearY,
    /// Moves everything sideways.
    TranslateX,
    /// Moves everything up or down.
    TranslateY,
    /// Turns about the centre.
    Rotate,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::AutoContrast,
        Self::Brightness,
        Self::Sharpness,
        Self::Equalize,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
    ];
}

impl RandAugment {
    /// LAVIS's `RandomAugment(2, 5)`, with its white pictures ([`ContrastStretch::Lavis`]).
    pub fn lavis() -> Self {
        Self {
            contrast: ContrastStretch::Lavis,
            ..Self::intended()
        }
    }

    /// The same, but for contrast that is stretched as Pillow does it.
    pub fn intended() -> Self {
        Self {
            draws: 2,
            level: 5.0,
            contrast: ContrastStretch::Pillow,
        }
    }

    /// Draws operations and does them.
    pub fn apply(&self, picture: &mut RgbImage, stream: &mut Stream) {
        let drawn: Vec<Operation> = (0..self.draws).map(|_| *stream.pick(&Operation::ALL)).collect();
        for operation in drawn {
            if stream.chance(0.5) {
                let is_negative = stream.chance(0.5);
                self.operate(picture, operation, is_negative);
            }
        }
    }

    /// Does one operation; `is_negative` turns the direction of shears, shifts and turns.
    pub fn operate(&self, picture: &mut RgbImage, operation: Operation, is_negative: bool) {
        let share = f64::from(self.level) / f64::from(MOST);
        let signed = |most: f64| if is_negative { -most * share } else { most * share };
        let factor = share * 1.8 + 0.1;
        match operation {
            Operation::Identity => {}
            Operation::AutoContrast => tables::stretch_contrast(picture, self.contrast),
            Operation::Brightness => tables::brighten(picture, factor as f32),
            Operation::Sharpness => tables::sharpen(picture, factor as f32),
            Operation::Equalize => tables::equalise(picture),
            Operation::ShearX => warp::warp(picture, warp::matrix([1.0, signed(0.3), 0.0], [0.0, 1.0, 0.0])),
            Operation::ShearY => warp::warp(picture, warp::matrix([1.0, 0.0, 0.0], [signed(0.3), 1.0, 0.0])),
            Operation::TranslateX => {
                warp::warp(picture, warp::matrix([1.0, 0.0, -signed(10.0)], [0.0, 1.0, 0.0]));
            }
            Operation::TranslateY => {
                warp::warp(picture, warp::matrix([1.0, 0.0, 0.0], [0.0, 1.0, -signed(10.0)]));
            }
            Operation::Rotate => warp::warp(picture, warp::rotation(picture, signed(30.0))),
        }
    }
}
