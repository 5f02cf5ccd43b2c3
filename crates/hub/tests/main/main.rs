//! Fetching, against a hub that is played by a server on this machine.

mod fetch;
mod refusals;
mod server;
