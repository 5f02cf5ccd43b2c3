//! Collectives between threads: what they give, how they fail, what travels.

mod collectives;
mod failures;
mod sums;
