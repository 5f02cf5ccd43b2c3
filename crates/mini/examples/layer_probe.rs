//! After which block do the features of the embedded default's encoder describe content best?
//!
//! `cargo run --release -p blip2-mini --example layer_probe -- FOLDER_OF_ASSETS [NAMES [SIDE]]`
//!
//! A feature is good if the same thing, drawn in another style, lies nearest to it. Two figures for each depth, both the
//! share of nearest neighbours (cosine) that are right, over all ordered pairs of the four drawing styles:
//! - whole: one emoji in the picture, mean over its patches, among NAMES names that all styles draw (100);
//! - half: two emoji side by side, mean over the patches of one half, looked for among the opposite halves of pictures
//!   in another style, among the concepts of the emoji scenes. Low where tokens speak of the whole picture instead of
//!   their own place: then the Q-Former could not tell left from right.
//!
//! Pictures are SIDE pixels wide and high (112). Each token is normalised first, as `ln_vision` does, and each set of
//! features centred, as a projection would.

#![expect(clippy::print_stdout, reason = "a measurement to be read")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use blip2_core::VisionEncoder;
use blip2_data::pixels::{ImageProcessor, RgbImage};
use blip2_mini::scenes::{CONCEPTS, EmojiAssets, IconSet, Sprite, Style};
use blip2_vision_encoder::{IMAGENET_DEVIATION, IMAGENET_MEAN, VisionTransformer};
use burn::tensor::{Device, Tensor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATCH: usize = 14;
const BATCH: usize = 32;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let home = PathBuf::from(arguments.next().context("which folder holds the assets?")?);
    let mut number = |name: &str, default: usize| match arguments.next() {
        Some(text) => text
            .to_string_lossy()
            .parse()
            .with_context(|| format!("{name} must be a number")),
        None => Ok(default),
    };
    let (names, side) = (number("NAMES", 100)?, number("SIDE", 112)?);
    ensure!(
        side > 0 && side % (2 * PATCH) == 0,
        "SIDE must be a multiple of {}",
        2 * PATCH
    );
    let model = home.join("assets/vit-s/vit_s_focus.onnx");
    let probe = Probe {
        encoder: VisionTransformer::from_saliency_onnx(&model, &Device::flex())?,
        processor: ImageProcessor {
            width: side as u32,
            height: side as u32,
            mean: IMAGENET_MEAN,
            std: IMAGENET_DEVIATION,
        },
        side,
    };
    probe.neighbours(&load_sets(&home)?, names)?;
    probe.time()
}

fn load_sets(home: &Path) -> Result<Vec<IconSet>> {
    let assets = EmojiAssets::in_home(home);
    let sets = Style::ALL
        .iter()
        .map(|style| IconSet::load(*style, assets.icons(*style)));
    Ok(sets.collect::<Result<_, _>>()?)
}

/// Names that every set draws, evenly spread over the alphabet, without the near-copies in other skin tones and the
/// lettered buttons, clocks and flags.
fn common_names(sets: &[IconSet], count: usize) -> Vec<String> {
    let near_copies = ["skin", "button", "flag", "oclock", "thirty"];
    let common: Vec<&str> = sets[0]
        .names()
        .into_iter()
        .filter(|name| !near_copies.iter().any(|part| name.contains(part)))
        .filter(|name| sets[1..].iter().all(|set| set.svg(name).is_ok()))
        .collect();
    let step = (common.len() / count.max(1)).max(1);
    common
        .into_iter()
        .step_by(step)
        .take(count)
        .map(str::to_owned)
        .collect()
}

/// By how much the concept on the right of a picture is further down the list than the one on the left: another
/// distance in each style, so that companions say nothing.
fn companion(style: usize) -> usize {
    1 + 7 * style
}

struct Probe {
    encoder: VisionTransformer,
    processor: ImageProcessor,
    side: usize,
}

impl Probe {
    fn neighbours(&self, sets: &[IconSet], count: usize) -> Result<()> {
        let names = common_names(sets, count);
        let patches = self.side / PATCH;
        let (mut whole, mut left, mut right) = (Vec::new(), Vec::new(), Vec::new());
        for (style, set) in sets.iter().enumerate() {
            whole.push(self.features(&self.single_pictures(set, &names)?, 0..patches)?);
            let pairs = self.pair_pictures(set, companion(style))?;
            left.push(self.features(&pairs, 0..patches / 2)?);
            right.push(self.features(&pairs, patches / 2..patches)?);
        }
        println!(
            "nearest neighbour across styles, {} px: {} names whole, {} concepts by halves",
            self.side,
            names.len(),
            CONCEPTS.len()
        );
        println!("{:>6} {:>8} {:>8}", "block", "whole", "half");
        for depth in 0..=self.encoder.blocks() {
            let (mut wholes, mut halves) = (Vec::new(), Vec::new());
            for query in 0..sets.len() {
                for gallery in (0..sets.len()).filter(|gallery| *gallery != query) {
                    wholes.push(share_right(&whole[query][depth], &whole[gallery][depth], 0));
                    let shift = companion(gallery);
                    halves.push(share_right(&left[query][depth], &right[gallery][depth], shift));
                }
            }
            println!("{depth:>6} {:>8.3} {:>8.3}", mean(&wholes), mean(&halves));
        }
        Ok(())
    }

    fn ground(&self) -> RgbImage {
        RgbImage::from_pixel(self.side as u32, self.side as u32, [255; 3].into())
    }

    fn single_pictures(&self, set: &IconSet, names: &[String]) -> Result<Vec<RgbImage>> {
        let side = self.side as f32;
        let picture = |name: &String| {
            let mut picture = self.ground();
            Sprite::rasterise(set, name)?.draw(&mut picture, side / 2.0, side / 2.0, side * 0.8);
            Ok(picture)
        };
        names.iter().map(picture).collect()
    }

    /// Picture `i` shows concept `i` on the left and concept `i + shift` on the right.
    fn pair_pictures(&self, set: &IconSet, shift: usize) -> Result<Vec<RgbImage>> {
        let sprites = CONCEPTS
            .iter()
            .map(|concept| Sprite::rasterise(set, concept.icon))
            .collect::<Result<Vec<_>, _>>()?;
        let side = self.side as f32;
        let picture = |index: usize| {
            let mut picture = self.ground();
            for (place, concept) in [(0.25, index), (0.75, (index + shift) % sprites.len())] {
                sprites[concept].draw(&mut picture, side * place, side / 2.0, side * 0.42);
            }
            picture
        };
        Ok((0..sprites.len()).map(picture).collect())
    }

    /// For each depth `[pictures, width]`: the mean over the patches in these columns, each normalised; centred over the
    /// pictures, of length one.
    fn features(&self, pictures: &[RgbImage], columns: Range<usize>) -> Result<Vec<Tensor<2>>> {
        let patches = self.side / PATCH;
        let mut depths = vec![Vec::new(); self.encoder.blocks() + 1];
        for batch in pictures.chunks(BATCH) {
            let pixels = self.processor.batch(batch, &Device::flex())?;
            for (means, features) in depths.iter_mut().zip(self.encoder.trace(pixels)?) {
                let [images, tokens, width] = features.dims();
                let centred = features.clone() - features.mean_dim(2);
                let normal = centred.clone() / (centred.square().mean_dim(2) + 1e-6).sqrt();
                let grid = normal
                    .narrow(1, 1, tokens - 1)
                    .reshape([images, patches, patches, width]);
                let chosen = grid.narrow(2, columns.start, columns.len());
                means.push(chosen.mean_dim(1).mean_dim(2).reshape([images, width]));
            }
        }
        let direction = |means| {
            let all = Tensor::<2>::cat(means, 0);
            let centred = all.clone() - all.mean_dim(0);
            centred.clone() / centred.square().sum_dim(1).sqrt()
        };
        Ok(depths.into_iter().map(direction).collect())
    }

    /// Prints milliseconds an image, in batches, at this size and twice this size.
    fn time(&self) -> Result<()> {
        println!("\n{:>6} {:>6} {:>12}", "pixels", "blocks", "ms an image");
        for side in [self.side, 2 * self.side] {
            let pixels = Tensor::<4>::ones([BATCH, 3, side, side], &Device::flex());
            for blocks in [7, self.encoder.blocks()] {
                let encoder = self.encoder.clone().with_features(blocks as i32, false)?;
                let mut fastest = f64::INFINITY;
                for _ in 0..3 {
                    let start = Instant::now();
                    encoder.encode(pixels.clone())?.into_data();
                    fastest = fastest.min(start.elapsed().as_secs_f64());
                }
                println!("{side:>6} {blocks:>6} {:>12.1}", fastest * 1e3 / BATCH as f64);
            }
        }
        Ok(())
    }
}

/// Share of the rows of `query` whose nearest row of `gallery` shows the same: row `i` shows thing `i` in `query`, and
/// thing `i + shift` in `gallery`.
fn share_right(query: &Tensor<2>, gallery: &Tensor<2>, shift: usize) -> f64 {
    let things = query.dims()[0];
    let nearest = query.clone().matmul(gallery.clone().transpose()).argmax(1);
    let right = nearest
        .into_data()
        .iter::<i64>()
        .enumerate()
        .filter(|(thing, row)| (*row as usize + shift) % things == *thing)
        .count();
    right as f64 / things as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
