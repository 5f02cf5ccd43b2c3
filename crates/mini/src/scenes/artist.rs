//! Draws scenes from drawings that were turned into pixels once.

use super::scene::{Direction, Ground, Scene};
use super::{CONCEPTS, EmojiAssets, IconSet, ScenesError, Sprite, Style};
use blip2_data::pixels::RgbImage;
use image::Rgb;
use std::collections::HashMap;

/// All drawings of all concepts, ready to be placed.
#[derive(Debug, Clone)]
pub struct SceneArtist {
    sprites: HashMap<(Style, usize), Sprite>,
}

impl SceneArtist {
    /// Reads the four sets and renders every concept in every style, one set in memory at a time.
    ///
    /// # Errors
    /// If a set cannot be read or lacks a concept.
    pub fn load(assets: &EmojiAssets) -> Result<Self, ScenesError> {
        let mut artist = Self {
            sprites: HashMap::new(),
        };
        for style in Style::ALL {
            let set = IconSet::load(style, assets.icons(style))?;
            artist.learn(&set, 0..CONCEPTS.len())?;
        }
        Ok(artist)
    }

    /// An artist who knows only these concepts (indices into [`CONCEPTS`]) of one set.
    ///
    /// # Errors
    /// If the set lacks one of them.
    pub fn from_set(set: &IconSet, concepts: impl IntoIterator<Item = usize>) -> Result<Self, ScenesError> {
        let mut artist = Self {
            sprites: HashMap::new(),
        };
        artist.learn(set, concepts)?;
        Ok(artist)
    }

    fn learn(&mut self, set: &IconSet, concepts: impl IntoIterator<Item = usize>) -> Result<(), ScenesError> {
        for concept in concepts {
            let sprite = Sprite::rasterise(set, CONCEPTS[concept].icon)?;
            self.sprites.insert((set.style(), concept), sprite);
        }
        Ok(())
    }

    /// Draws the scene, `side` pixels wide and high.
    ///
    /// # Errors
    /// If `side` is 0 or the scene shows what this artist does not know.
    pub fn render(&self, scene: &Scene, side: u32) -> Result<RgbImage, ScenesError> {
        let mut picture = paint(scene.ground, side)?;
        let scale = side as f32;
        for object in &scene.objects {
            let sprite =
                self.sprites
                    .get(&(scene.style, object.concept))
                    .ok_or_else(|| ScenesError::NoSprite {
                        style: scene.style,
                        concept: CONCEPTS[object.concept].singular,
                    })?;
            sprite.draw(
                &mut picture,
                object.x * scale,
                object.y * scale,
                object.side * scale,
            );
        }
        Ok(picture)
    }
}

/// A picture of the ground alone.
pub(super) fn paint(ground: Ground, side: u32) -> Result<RgbImage, ScenesError> {
    if side == 0 {
        return Err(ScenesError::NoPixels);
    }
    let last = (side - 1).max(1) as f32;
    let colour = |column: u32, row: u32| match ground {
        Ground::Plain(colour) => Rgb(colour),
        Ground::Gradient { from, to, direction } => {
            let (x, y) = (column as f32 / last, row as f32 / last);
            let share = match direction {
                Direction::Right => x,
                Direction::Down => y,
                Direction::Diagonal => (x + y) / 2.0,
            };
            Rgb(std::array::from_fn(|channel| {
                let (from, to) = (f32::from(from[channel]), f32::from(to[channel]));
                (from + (to - from) * share).round() as u8
            }))
        }
    };
    Ok(RgbImage::from_fn(side, side, colour))
}
