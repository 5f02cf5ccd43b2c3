//! Pictures as Pillow decodes them: by hash where nothing is lost, else by mean colours of all and of sixteenths.

use blip2_data::pixels::RgbImage;
use blip2_data::sets::{Picture, Sample};
use blip2_golden::{Check, json};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Compares the picture of each sample with what is expected under `image`. The bytes are those of the file in any case.
pub(super) fn compare_pictures<'all>(
    check: &mut Check,
    what: &str,
    pairs: impl Iterator<Item = (&'all Sample, &'all Value)>,
) {
    let cells = json("data/pixels.json").expect("the data sets come with their cells");
    let (mut ours, mut theirs) = (Exact::default(), Exact::default());
    let (mut our_means, mut their_means, mut mean_tolerance) = (Vec::new(), Vec::new(), f64::INFINITY);
    let (mut our_cells, mut their_cells) = (Vec::new(), Vec::new());
    for (sample, expected) in pairs {
        let image = &expected["image"];
        if image.is_null() {
            continue;
        }
        let picture = sample
            .picture
            .decode(&sample.key)
            .unwrap_or_else(|error| panic!("{error}"));
        let (width, height) = picture.dimensions();
        ours.sizes.push([width, height].map(u64::from).to_vec());
        theirs
            .sizes
            .push(numbers(&image["size"]).iter().map(|side| *side as u64).collect());
        if let Picture::Encoded(bytes) = &sample.picture {
            ours.bytes.push(hash(bytes));
            theirs
                .bytes
                .push(image["bytes_sha256"].as_str().unwrap_or_default().to_owned());
        }
        let (own, reference) = (
            hash(picture.as_raw()),
            image["rgb_sha256"].as_str().unwrap_or_default(),
        );
        if image["lossless"] == true {
            ours.pixels.push(own);
            theirs.pixels.push(reference.to_owned());
        } else if own != reference {
            our_means.extend(means(&picture, [0, 0, width, height]));
            their_means.extend(numbers(&image["mean_rgb"]));
            mean_tolerance = mean_tolerance.min(image["mean_tolerance"].as_f64().unwrap_or(0.0));
            our_cells.extend(sixteenths(&picture));
            let grid = cells["pictures"][reference]["grid4"].as_array();
            their_cells.extend(grid.into_iter().flatten().flat_map(numbers));
        }
    }
    check.identical(&format!("sizes/{what}"), &ours.sizes, &theirs.sizes);
    check.identical(&format!("bytes/{what}"), &ours.bytes, &theirs.bytes);
    check.identical(&format!("pixels/{what}"), &ours.pixels, &theirs.pixels);
    if !our_means.is_empty() {
        check.absolute(
            &format!("mean-colours/{what}"),
            &our_means,
            &their_means,
            mean_tolerance,
        );
        let tolerance = cells["cell_tolerance_for_lossy"].as_f64().expect("a tolerance");
        check.absolute(
            &format!("colours-of-cells/{what}"),
            &our_cells,
            &their_cells,
            tolerance,
        );
    }
}

/// What must be the same.
#[derive(Default)]
struct Exact {
    sizes: Vec<Vec<u64>>,
    bytes: Vec<String>,
    pixels: Vec<String>,
}

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().into_iter().flatten();
    numbers.filter_map(Value::as_f64).collect()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Mean colours from `left, top` to `right, bottom`, exclusive.
fn means(picture: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for (x, y) in (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y))) {
        let colours = picture.get_pixel(x, y).0;
        sums.iter_mut()
            .zip(colours)
            .for_each(|(sum, colour)| *sum += f64::from(colour));
    }
    let count = f64::from(right - left) * f64::from(bottom - top);
    sums.map(|sum| sum / count)
}

/// Mean colours of 4x4 cells, row by row.
fn sixteenths(picture: &RgbImage) -> Vec<f64> {
    let (width, height) = picture.dimensions();
    let places = (0..4).flat_map(|row| (0..4).map(move |column| (row, column)));
    places
        .flat_map(|(row, column)| {
            let edges = [
                column * width / 4,
                row * height / 4,
                (column + 1) * width / 4,
                (row + 1) * height / 4,
            ];
            means(picture, edges)
        })
        .collect()
}
