//! Colour to RGB in whole numbers, as libyuv does it on processors of the x86 family, byte for byte.

use super::properties::Colour;

/// Six bits behind the point; brightness by 65536 / 257 more.
pub(super) struct Matrix {
    brightness: i32,
    black: i32,
    blue: i32,
    green: [i32; 2],
    red: i32,
}

impl Matrix {
    /// The matrices that libyuv has: BT.601, BT.709, BT.2020, of codes from 16 to 235 or of all.
    pub(super) fn of(colour: Colour) -> Option<Self> {
        let matrix = match (colour.matrix, colour.primaries) {
            // Derived from the primaries.
            (12, 1 | 2) => 1,
            (12, 5 | 6) => 6,
            (12, 9) => 9,
            (matrix, _) => matrix,
        };
        // Blue would be more than 128 (129, 135, 137) in the first three, which does not fit into a signed byte there.
        let [brightness, black, blue, by_blue, by_red, red] = match (matrix, colour.is_full) {
            (2 | 5 | 6, false) => [18997, -1160, 128, 25, 52, 102],
            (1, false) => [18997, -1160, 128, 14, 34, 115],
            (9, false) => [19003, -1160, 128, 12, 42, 107],
            (2 | 5 | 6, true) => [16320, 32, 113, 22, 46, 90],
            (1, true) => [16320, 32, 119, 12, 30, 101],
            (9, true) => [16320, 32, 120, 11, 37, 94],
            _ => return None,
        };
        Some(Self {
            brightness,
            black,
            blue,
            green: [by_blue, by_red],
            red,
        })
    }

    /// Of brightness and two differences of colour, of so many bits each.
    pub(super) fn rgb(&self, [brightness, blue, red]: [u16; 3], bits: u32) -> [u8; 3] {
        let wide = u32::from(brightness) << (16 - bits) | u32::from(brightness) >> (2 * bits - 16);
        // Less than 2^31: `wide` has 16 bits, the factor 15.
        let grey = ((wide * self.brightness as u32) >> 16) as i32 + self.black;
        let [blue, red] = [blue, red].map(|sample| i32::from(sample >> (bits - 8)).min(255) - 128);
        [
            grey + self.red * red,
            grey - self.green[0] * blue - self.green[1] * red,
            grey + self.blue * blue,
        ]
        .map(|value| (value >> 6).clamp(0, 255) as u8)
    }
}

/// The sample between its neighbours: nine parts of the nearest, three each of those beside and below, one of the last.
pub(super) fn between(samples: [u16; 4]) -> u16 {
    let [nearest, beside, below, across] = samples.map(u32::from);
    ((9 * nearest + 3 * (beside + below) + across + 8) >> 4) as u16
}

/// Undoes the multiplication by opacity, by libyuv's table of reciprocals and with its overflow at an opacity of 1.
pub(super) fn divided(value: u8, alpha: u8) -> u8 {
    let reciprocal = match alpha {
        0 => 0,
        1 => 0xffff,
        255 => 0x100,
        _ => 0x1_0000 / u32::from(alpha),
    };
    match (u32::from(value) * 0x101 * reciprocal) >> 16 {
        0x8000.. => 0,
        quotient => quotient.min(255) as u8,
    }
}
