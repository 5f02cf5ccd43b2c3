//! The data crate against the reference: one binary, a module a subject.

mod assets;
mod drawing;
mod features;
mod golden;
mod golden_pictures;
mod loader;
mod pixels;
mod repertoire;
mod scenes;
mod text;
