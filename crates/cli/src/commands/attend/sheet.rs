//! The sheet: the picture, and again under each map, with a line of words below each.

use blip2::{Looks, RgbImage, WordLooks};
use blip2_report::heat;
use image::Rgb;
use image::imageops::{FilterType, overlay, resize};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Pixels along the longer side of a tile, and between tiles.
const SIDE: u32 = 224;
const GAP: u32 = 16;
/// Pixels of a line of words.
const LINE: u32 = 24;
const COLUMNS: usize = 6;
const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: [f32; 3] = [32.0, 36.0, 48.0];
/// Queries that are shown one by one: those that look least alike.
const SHOWN: usize = 10;
/// What stands for a letter that the font has not.
const NO_LETTER: char = '?';

/// Tiles under each other, some to a row.
pub(super) struct Sheet {
    picture: RgbImage,
    rows: Vec<Vec<RgbImage>>,
}

impl Sheet {
    pub(super) fn new(picture: &RgbImage) -> Self {
        let (width, height) = picture.dimensions();
        let scale = f64::from(SIDE) / f64::from(width.max(height));
        let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
        Self {
            picture: resize(picture, side(width), side(height), FilterType::CatmullRom),
            rows: Vec::new(),
        }
    }

    /// The picture beside the mean over queries and some of them, and what speaks for the text as a whole and for each word.
    pub(super) fn of(mut self, looks: &Looks, words: Option<&WordLooks>) -> RgbImage {
        let mut tiles = vec![self.tile(None, "picture")];
        if let Some(last) = looks.layers.last() {
            let tile = |(name, map): (String, &[f32])| self.tile(Some((map, looks.grid)), &name);
            let mean = mean(&last.queries);
            tiles.push(tile((format!("all, layer {}", last.layer), &mean)));
            let shown = unlike(&last.queries, SHOWN);
            let one_by_one = shown.into_iter().map(|query| {
                let name = format!("query {}", query + 1);
                (name, last.queries[query].as_slice())
            });
            tiles.extend(one_by_one.map(tile));
        }
        self.rows.extend(tiles.chunks(COLUMNS).map(<[RgbImage]>::to_vec));
        if let Some(words) = words {
            let tile = |name: &str, map: &[f32]| self.tile(Some((map, words.grid)), name);
            let whole = format!("match {:.3}", words.itm_probability);
            let mut tiles = vec![tile(&whole, &mean(&words.queries))];
            tiles.extend(words.words.iter().map(|word| tile(&word.word, &word.weights)));
            self.rows.extend(tiles.chunks(COLUMNS).map(<[RgbImage]>::to_vec));
        }
        self.drawn()
    }

    fn tile(&self, map: Option<(&[f32], [usize; 2])>, name: &str) -> RgbImage {
        let (width, height) = self.picture.dimensions();
        let mut tile = RgbImage::from_pixel(width.max(SIDE), height + LINE, PAPER);
        overlay(&mut tile, &self.picture, 0, 0);
        if let Some((weights, grid)) = map {
            let layer = heat(weights, grid, [height as usize, width as usize]);
            for (index, [red, green, blue, opacity]) in (0..).zip(layer) {
                let pixel = tile.get_pixel_mut(index % width, index / width);
                blend(pixel, [red, green, blue].map(f32::from), opacity);
            }
        }
        write(&mut tile, name, height);
        tile
    }

    fn drawn(&self) -> RgbImage {
        let (width, height) = self.rows[0][0].dimensions();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let rows = self.rows.len() as u32;
        let size = |tiles: u32, side: u32| tiles * (side + GAP) + GAP;
        let mut sheet = RgbImage::from_pixel(size(columns, width), size(rows, height), PAPER);
        for (row, tiles) in (0..).zip(&self.rows) {
            for (column, tile) in (0..).zip(tiles) {
                let place = |index: u32, side: u32| i64::from(GAP + index * (side + GAP));
                overlay(&mut sheet, tile, place(column, width), place(row, height));
            }
        }
        sheet
    }
}

fn blend(pixel: &mut Rgb<u8>, colour: [f32; 3], opacity: u8) {
    let share = f32::from(opacity) / 255.0;
    for (part, colour) in pixel.0.iter_mut().zip(colour) {
        *part = (f32::from(*part) * (1.0 - share) + colour * share) as u8;
    }
}

/// Writes `text` below the first `height` rows of `tile`, as much as there is room for.
fn write(tile: &mut RgbImage, text: &str, height: u32) {
    let (weight, size) = (FontWeight::Regular, RasterHeight::Size16);
    let step = get_raster_width(weight, size);
    let room = tile.width() as usize / step;
    let cut = text.chars().count() > room;
    let kept = text.chars().take(if cut { room - 1 } else { room });
    for (index, letter) in kept.chain(cut.then_some('~')).enumerate() {
        let Some(raster) = get_raster(letter, weight, size).or_else(|| get_raster(NO_LETTER, weight, size))
        else {
            continue;
        };
        for (y, row) in raster.rows().enumerate() {
            for (x, &opacity) in row.iter().enumerate() {
                let pixel = tile.get_pixel_mut((index * step + x) as u32, height + 4 + y as u32);
                blend(pixel, INK, opacity);
            }
        }
    }
}

/// The mean of several maps.
fn mean(maps: &[Vec<f32>]) -> Vec<f32> {
    let patches = maps.first().map_or(0, Vec::len);
    (0..patches)
        .map(|patch| maps.iter().map(|map| map[patch]).sum::<f32>() / maps.len() as f32)
        .collect()
}

/// `count` of `maps`, in their order, each as far from those chosen before it as can be: the first is the sharpest.
fn unlike(maps: &[Vec<f32>], count: usize) -> Vec<usize> {
    let apart =
        |a: usize, b: usize| -> f32 { maps[a].iter().zip(&maps[b]).map(|(a, b)| (a - b).abs()).sum() };
    let sharpness = |map: &usize| maps[*map].iter().map(|weight| weight * weight).sum::<f32>();
    let all = || 0..maps.len();
    let mut chosen: Vec<usize> = all()
        .max_by(|a, b| sharpness(a).total_cmp(&sharpness(b)))
        .into_iter()
        .collect();
    while chosen.len() < count.min(maps.len()) {
        let nearest = |map: usize| {
            chosen
                .iter()
                .map(|other| apart(map, *other))
                .fold(f32::INFINITY, f32::min)
        };
        let next = all()
            .filter(|map| !chosen.contains(map))
            .max_by(|a, b| nearest(*a).total_cmp(&nearest(*b)));
        chosen.extend(next);
    }
    chosen.sort_unstable();
    chosen
}
