//! The four sets of drawings, as `@iconify-json` packages hold them, and where they lie on disk.

use super::ScenesError;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A drawing style: one set of emoji.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Style {
    /// Noto Emoji, Apache-2.0.
    Noto,
    /// Fluent Emoji, MIT.
    Fluent,
    /// Twemoji, CC-BY-4.0.
    Twemoji,
    /// OpenMoji, CC-BY-SA-4.0.
    Openmoji,
}

impl Style {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Noto, Self::Fluent, Self::Twemoji, Self::Openmoji];
    /// The styles that training pictures are drawn in.
    pub const TRAINING: [Self; 3] = [Self::Noto, Self::Fluent, Self::Openmoji];
    /// The style that training never shows.
    pub const HELD_OUT: Self = Self::Twemoji;

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noto => "noto",
            Self::Fluent => "fluent-emoji",
            Self::Twemoji => "twemoji",
            Self::Openmoji => "openmoji",
        }
    }
}

impl std::fmt::Display for Style {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Where the drawings and their names lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmojiAssets {
    /// `icons.json` of `@iconify-json/noto`.
    pub noto: PathBuf,
    /// `icons.json` of `@iconify-json/fluent-emoji`.
    pub fluent: PathBuf,
    /// `icons.json` of `@iconify-json/twemoji`.
    pub twemoji: PathBuf,
    /// `icons.json` of `@iconify-json/openmoji`.
    pub openmoji: PathBuf,
    /// English `annotations.json` of `cldr-annotations-full`.
    pub annotations: PathBuf,
}

impl EmojiAssets {
    /// The layout of the cache folder that `cargo xtask assets` fills.
    pub fn in_home(home: &Path) -> Self {
        let icons = |style: Style| home.join("assets").join(style.name()).join("icons.json");
        Self {
            noto: icons(Style::Noto),
            fluent: icons(Style::Fluent),
            twemoji: icons(Style::Twemoji),
            openmoji: icons(Style::Openmoji),
            annotations: home.join("assets").join("cldr").join("annotations.json"),
        }
    }

    /// The `icons.json` of a style.
    pub fn icons(&self, style: Style) -> &Path {
        match style {
            Style::Noto => &self.noto,
            Style::Fluent => &self.fluent,
            Style::Twemoji => &self.twemoji,
            Style::Openmoji => &self.openmoji,
        }
    }
}

/// One set of drawings in memory.
#[derive(Debug)]
pub struct IconSet {
    style: Style,
    file: IconFile,
}

#[derive(Debug, Deserialize)]
struct IconFile {
    icons: HashMap<String, Icon>,
    #[serde(default)]
    aliases: HashMap<String, Alias>,
    #[serde(default = "default_side")]
    width: f32,
    #[serde(default = "default_side")]
    height: f32,
}

#[derive(Debug, Deserialize)]
struct Icon {
    body: String,
    width: Option<f32>,
    height: Option<f32>,
    #[serde(default)]
    hidden: bool,
}

/// Another name for a drawing, as it is or (`hFlip` and the like) altered.
#[derive(Debug, Deserialize)]
struct Alias {
    parent: String,
    #[serde(flatten)]
    changes: HashMap<String, serde_json::Value>,
}

/// What the format says where a set does not.
fn default_side() -> f32 {
    16.0
}

impl IconSet {
    /// Reads an `icons.json`.
    ///
    /// # Errors
    /// If the file cannot be read or is no icon set.
    pub fn load(style: Style, path: &Path) -> Result<Self, ScenesError> {
        let text = std::fs::read(path).map_err(|source| ScenesError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let file = serde_json::from_slice(&text).map_err(|source| ScenesError::Malformed {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self { style, file })
    }

    /// The style these drawings are in.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Names of all drawings that are not withdrawn, aliases left out, in alphabetical order.
    pub fn names(&self) -> Vec<&str> {
        let visible = self.file.icons.iter().filter(|(_, icon)| !icon.hidden);
        let mut names: Vec<&str> = visible.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// A drawing as an SVG document.
    ///
    /// # Errors
    /// If the set has no drawing of that name, or only an altered alias.
    pub fn svg(&self, name: &str) -> Result<String, ScenesError> {
        let parent = match self.file.aliases.get(name) {
            Some(alias) if alias.changes.is_empty() => alias.parent.as_str(),
            _ => name,
        };
        let icon = self
            .file
            .icons
            .get(parent)
            .ok_or_else(|| ScenesError::MissingIcon {
                style: self.style,
                icon: name.to_owned(),
            })?;
        let (width, height) = (
            icon.width.unwrap_or(self.file.width),
            icon.height.unwrap_or(self.file.height),
        );
        Ok(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{}</svg>"#,
            icon.body
        ))
    }
}
