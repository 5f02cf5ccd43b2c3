//! When a decoded picture counts as the reference's: without loss by its hash, with loss by its mean colours.

use blip2_data::pixels::RgbImage;
use blip2_golden::{Check, json};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{list, text};

/// Mean colours of 4 x 4 cells of every picture, by the hash of its pixels.
pub(crate) struct Cells(Value);

impl Cells {
    pub(crate) fn open() -> Self {
        Self(json("data/pixels.json").expect("the folder has its mean colours"))
    }

    /// Compares `picture` with what `image` says of it: `size`, `rgb_sha256`, `lossless`, `mean_rgb`, `mean_tolerance`.
    pub(crate) fn check(&self, check: &mut Check, what: &str, picture: &RgbImage, image: &Value) {
        let size = [picture.width(), picture.height()].map(u64::from);
        let expected: Vec<u64> = list(&image["size"]).iter().filter_map(Value::as_u64).collect();
        check.identical(&format!("size/{what}"), &size, &expected);
        if size[..] != expected[..] {
            return;
        }
        let hash = text(&image["rgb_sha256"]);
        if image["lossless"] == true {
            return check.identical(
                &format!("pixels/{what}"),
                &[sha256(picture.as_raw())],
                &[hash.to_owned()],
            );
        }
        let whole = mean(picture, 0..picture.height(), 0..picture.width());
        let tolerance = image["mean_tolerance"].as_f64().expect("a tolerance");
        check.absolute(
            &format!("mean-colour/{what}"),
            &whole,
            &numbers(&image["mean_rgb"]),
            tolerance,
        );
        let ours: Vec<f64> = (0..4)
            .flat_map(|row| (0..4).map(move |column| (row, column)))
            .flat_map(|(row, column)| {
                let cut = |length: u32, cell: u32| cell * length / 4..(cell + 1) * length / 4;
                mean(picture, cut(picture.height(), row), cut(picture.width(), column))
            })
            .collect();
        let cells: Vec<f64> = list(&self.0["pictures"][hash]["grid4"])
            .iter()
            .flat_map(numbers)
            .collect();
        let tolerance = self.0["cell_tolerance_for_lossy"].as_f64().expect("a tolerance");
        check.absolute(&format!("cell-colours/{what}"), &ours, &cells, tolerance);
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn mean(picture: &RgbImage, rows: std::ops::Range<u32>, columns: std::ops::Range<u32>) -> Vec<f64> {
    let mut sums = [0.0; 3];
    let count = f64::from(rows.end - rows.start) * f64::from(columns.end - columns.start);
    for row in rows {
        for column in columns.clone() {
            let pixel = picture.get_pixel(column, row).0;
            sums.iter_mut()
                .zip(pixel)
                .for_each(|(sum, value)| *sum += f64::from(value));
        }
    }
    sums.map(|sum| sum / count).to_vec()
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().filter_map(Value::as_f64).collect()
}
