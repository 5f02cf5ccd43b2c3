//! The server as its clients meet it.

mod chat;
mod limits;
mod memory;
mod pictures;
mod safety;
mod stopping;
mod support;
