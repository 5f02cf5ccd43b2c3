//! *Emoji scenes*: pictures composed of real drawings, with captions, questions and distractors that the picture
//! decides. What a scene shows is one thing ([`SceneSet::scene`], decided by seed, split and index alone), drawing it
//! another ([`SceneArtist::render`]). Beside them the long tail of single emoji by name ([`EmojiNames`]).

mod arrangement;
mod artist;
mod concepts;
mod error;
mod icons;
mod language;
mod layout;
mod names;
mod noise;
mod repertoire;
mod scene;
mod split;
mod sprite;

pub use arrangement::{Arrangement, Group, Relation};
pub use artist::SceneArtist;
pub use concepts::{CONCEPTS, Concept};
pub use error::ScenesError;
pub use icons::{EmojiAssets, IconSet, Style};
pub use language::{Change, Distractor, Question};
pub use layout::Placed;
pub use names::{EmojiNames, NamedEmoji};
pub use noise::noisy_captions;
pub use repertoire::Repertoire;
pub use scene::{Direction, Ground, Scene, SceneSet};
pub use split::{Combinations, Split, is_held_out_combination, is_held_out_pair};
pub use sprite::Sprite;
