//! The long tail: one emoji a picture, over all names that CLDR knows, to test what sixty concepts cannot.

use super::artist::paint;
use super::scene::Ground;
use super::{EmojiAssets, IconSet, ScenesError, Sprite, Style};
use blip2_data::Stream;
use blip2_data::pixels::RgbImage;
use blip2_data::text::caption;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A drawing and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEmoji {
    /// The drawing style.
    pub style: Style,
    /// The icon's name in its set.
    pub icon: String,
    /// The English CLDR name, cleaned as a caption.
    pub text: String,
}

/// All named drawings of the four sets, held in memory (about 150 MB of SVG text).
#[derive(Debug)]
pub struct EmojiNames {
    sets: Vec<IconSet>,
    entries: Vec<NamedEmoji>,
}

#[derive(Deserialize)]
struct AnnotationsFile {
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: HashMap<String, Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    tts: Vec<String>,
}

impl EmojiNames {
    /// Reads the four sets and the annotations. A drawing is kept if its name is that of a CLDR annotation, which
    /// leaves out skin tones, flags and symbols that CLDR does not name.
    ///
    /// # Errors
    /// If a file cannot be read or is malformed.
    pub fn load(assets: &EmojiAssets) -> Result<Self, ScenesError> {
        let texts = annotations(&assets.annotations)?;
        let mut sets = Vec::with_capacity(Style::ALL.len());
        for style in Style::ALL {
            sets.push(IconSet::load(style, assets.icons(style))?);
        }
        Ok(Self::from_sets(sets, &texts))
    }

    /// Joins sets with texts by icon name.
    fn from_sets(sets: Vec<IconSet>, texts: &HashMap<String, String>) -> Self {
        let mut entries = Vec::new();
        for set in &sets {
            let named = set
                .names()
                .into_iter()
                .filter_map(|icon| texts.get(icon).map(|text| (icon, text)));
            let style = set.style();
            entries.extend(named.map(|(icon, text)| NamedEmoji {
                style,
                icon: icon.to_owned(),
                text: text.clone(),
            }));
        }
        Self { sets, entries }
    }

    /// The drawings in training styles.
    pub fn training(&self) -> Vec<&NamedEmoji> {
        self.entries
            .iter()
            .filter(|emoji| emoji.style != Style::HELD_OUT)
            .collect()
    }

    /// The drawings in the held-out style whose name a training style has too: the style is new, the name is not.
    pub fn held_out(&self) -> Vec<&NamedEmoji> {
        let known: HashSet<&str> = self
            .training()
            .into_iter()
            .map(|emoji| emoji.icon.as_str())
            .collect();
        let new = self.entries.iter().filter(|emoji| emoji.style == Style::HELD_OUT);
        new.filter(|emoji| known.contains(emoji.icon.as_str())).collect()
    }

    /// Draws one emoji large near the middle of a ground; size, place and ground are decided by the seed and the
    /// drawing.
    ///
    /// # Errors
    /// If `side` is 0 or the drawing cannot be rendered.
    pub fn render(&self, emoji: &NamedEmoji, seed: u64, side: u32) -> Result<RgbImage, ScenesError> {
        let set = self
            .sets
            .iter()
            .find(|set| set.style() == emoji.style)
            .ok_or_else(|| ScenesError::MissingIcon {
                style: emoji.style,
                icon: emoji.icon.clone(),
            })?;
        let mut stream = Stream::new(seed, &format!("{} {}", emoji.style, emoji.icon), 0);
        let mut picture = paint(Ground::draw(&mut stream), side)?;
        let scale = side as f32;
        let size = stream.between(0.6, 0.9);
        let (x, y) = (stream.between(0.46, 0.54), stream.between(0.46, 0.54));
        Sprite::rasterise(set, &emoji.icon)?.draw(&mut picture, x * scale, y * scale, size * scale);
        Ok(picture)
    }
}

/// Cleaned CLDR names by the icon name that iconify derives from them.
fn annotations(path: &Path) -> Result<HashMap<String, String>, ScenesError> {
    let bytes = std::fs::read(path).map_err(|source| ScenesError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let file: AnnotationsFile = serde_json::from_slice(&bytes).map_err(|source| ScenesError::Malformed {
        path: path.to_path_buf(),
        source,
    })?;
    let names = file
        .annotations
        .annotations
        .into_values()
        .filter_map(|annotation| annotation.tts.into_iter().next());
    Ok(names.map(|name| (icon_name(&name), caption(&name, ""))).collect())
}

/// "woman’s hat" is the icon "womans-hat": apostrophes and points vanish, all else that is no letter parts words.
fn icon_name(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|letter| !['’', '\'', '.'].contains(letter))
        .collect();
    let words = kept
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
