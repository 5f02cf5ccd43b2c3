//! The program as its users meet it: arguments in, output and exit code out.

mod bad_input;
mod caption;
mod convert;
mod dataset;
mod dtype;
mod hub;
mod hugging_face;
mod inspect;
mod pretrain;
mod representation;
mod support;
mod usage;
