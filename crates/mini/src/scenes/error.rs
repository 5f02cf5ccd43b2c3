//! What can be wrong with drawings and scenes.

use super::Style;
use std::path::PathBuf;

/// What can be wrong with the drawings that scenes are made of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenesError {
    /// A file of the drawings could not be read.
    #[error("cannot read {path}: {source}; fetch the drawings with `cargo xtask assets`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path} is malformed: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A drawing that is not in its set.
    #[error("the {style} drawings have no icon {icon:?}: this is not the pinned version of the set")]
    MissingIcon {
        /// The set.
        style: Style,
        /// The icon's name.
        icon: String,
    },
    /// A drawing that cannot be rendered.
    #[error("cannot render icon {icon:?} of the {style} drawings: {reason}")]
    Svg {
        /// The set.
        style: Style,
        /// The icon's name.
        icon: String,
        /// What the renderer said.
        reason: String,
    },
    /// A scene needs a drawing that the artist was not given.
    #[error("the artist holds no {style} drawing of {concept:?}")]
    NoSprite {
        /// The drawing style of the scene.
        style: Style,
        /// The concept's name.
        concept: &'static str,
    },
    /// A choice of what to show from which no data set can be made.
    #[error("these scenes cannot be drawn: {0}")]
    Repertoire(String),
    /// A picture without pixels was asked for.
    #[error("a scene needs at least one pixel a side")]
    NoPixels,
}
