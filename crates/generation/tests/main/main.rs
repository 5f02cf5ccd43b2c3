//! Tests of generation, in one binary: a small Markov chain stands for the language model.

mod beam;
mod beam_sample;
mod chain;
mod sequential;
mod session;
mod stopping;
