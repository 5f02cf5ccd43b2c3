//! Training on many devices, one process each.
//!
#![doc = include_str!("../README.md")]
//!
//! A [`Communicator`] is what a run meets its other ranks by: every collective of the house goes through it. It knows no
//! transport; an [`Engine`] does: none for a run of one process, [`Threads`] within one process for tests, `Mpi`
//! behind the feature `mpi`, and beside it `Nccl` behind the feature `nccl`, which adds up between NVIDIA GPUs.
//!
//! Before each collective the ranks tell each other what they are about to do, so that a rank that is elsewhere, or that has
//! another number of numbers, is named and not waited for; a rank that says nothing for longer than the watchdog's time is
//! named, too.

mod communicator;
mod connect;
mod engine;
mod error;
mod launch;
#[cfg(feature = "mpi")]
pub mod mpi;
#[cfg(feature = "nccl")]
pub mod nccl;
mod operation;
mod ordered_sum;
mod reduce;
mod threads;
mod traffic;

pub use communicator::{BUCKET, Communicator, WATCHDOG};
pub use connect::{ConnectError, Connection, connect};
pub use engine::{Engine, EngineError, HEADER, Header, Wait};
pub use error::CollectiveError;
pub use launch::{Launch, LaunchError};
pub use ordered_sum::OrderedSum;
pub use threads::Threads;
pub use traffic::{Traffic, Volume};
