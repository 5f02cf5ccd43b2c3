//! A drawing turned into pixels once, to be placed many times at any size.

use super::{IconSet, ScenesError};
use blip2_data::pixels::{RgbImage, resize_premultiplied};
use image::{Rgba, RgbaImage};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Side of the square a drawing is rasterised in, in pixels: more than it takes up in most pictures.
const RASTER_SIDE: u32 = 192;
/// Opacity from which a pixel counts as part of the drawing.
const VISIBLE: u8 = 16;

/// A drawing without its margin, colours multiplied by opacity.
#[derive(Debug, Clone)]
pub struct Sprite(RgbaImage);

impl Sprite {
    /// Renders the drawing `icon` of the set.
    ///
    /// # Errors
    /// If the set has no such drawing, or it cannot be rendered or shows nothing.
    pub fn rasterise(set: &IconSet, icon: &str) -> Result<Self, ScenesError> {
        let refuse = |reason: String| ScenesError::Svg {
            style: set.style(),
            icon: icon.to_owned(),
            reason,
        };
        let tree = Tree::from_str(&set.svg(icon)?, &Options::default())
            .map_err(|error| refuse(error.to_string()))?;
        let mut pixmap = Pixmap::new(RASTER_SIDE, RASTER_SIDE).expect("the raster's side is above 0");
        let scale = RASTER_SIDE as f32 / tree.size().width().max(tree.size().height());
        resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
        let whole = RgbaImage::from_raw(RASTER_SIDE, RASTER_SIDE, pixmap.take())
            .expect("a pixmap holds four bytes for each pixel");
        without_margin(&whole)
            .map(Self)
            .ok_or_else(|| refuse("it shows nothing".into()))
    }

    /// Draws the sprite into `picture`, centred at (`x`, `y`), its longer side `side` long; all in pixels.
    /// What falls outside is cut off.
    pub fn draw(&self, picture: &mut RgbImage, x: f32, y: f32, side: f32) {
        let longest = self.0.width().max(self.0.height()) as f32;
        let length = |source: u32| ((source as f32 * side / longest).round() as u32).max(1);
        let (width, height) = (length(self.0.width()), length(self.0.height()));
        let scaled = resize_premultiplied(&self.0, width, height).expect("both sides are at least 1");
        let left = (x - width as f32 / 2.0).round() as i64;
        let top = (y - height as f32 / 2.0).round() as i64;
        for (column, row, source) in scaled.enumerate_pixels() {
            let (at_x, at_y) = (left + i64::from(column), top + i64::from(row));
            if at_x < 0
                || at_y < 0
                || at_x >= i64::from(picture.width())
                || at_y >= i64::from(picture.height())
            {
                continue;
            }
            let target = picture.get_pixel_mut(at_x as u32, at_y as u32);
            over(source, &mut target.0);
        }
    }
}

/// The source over an opaque ground.
fn over(source: &Rgba<u8>, ground: &mut [u8; 3]) {
    let [.., opacity] = source.0;
    for (value, colour) in ground.iter_mut().zip(source.0) {
        let shining_through = (u16::from(*value) * u16::from(255 - opacity) + 127) / 255;
        *value = colour.saturating_add(shining_through as u8);
    }
}

/// Cuts off rows and columns in which nothing is visible; nothing is left of an empty picture.
fn without_margin(picture: &RgbaImage) -> Option<RgbaImage> {
    let visible = || {
        picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel.0[3] >= VISIBLE)
    };
    let left = visible().map(|(x, _, _)| x).min()?;
    let right = visible().map(|(x, _, _)| x).max()?;
    let top = visible().map(|(_, y, _)| y).min()?;
    let bottom = visible().map(|(_, y, _)| y).max()?;
    let (width, height) = (right - left + 1, bottom - top + 1);
    Some(image::imageops::crop_imm(picture, left, top, width, height).to_image())
}
