//! The data crate against the reference: one binary, a module a subject.

mod assets;
mod golden;
mod pixels;
mod scenes;
mod text;
