//! The program as its users meet it: arguments in, output and exit code out.

mod attend;
mod bad_input;
mod capfilt;
mod caption;
mod chat;
mod convert;
mod data;
mod dataset;
mod dtype;
mod evaluate;
mod evaluate_again;
mod hub;
mod hugging_face;
mod in_context;
mod inspect;
mod live;
mod pictures;
mod pretrain;
mod pull;
mod representation;
mod safety;
mod score;
mod serve;
#[path = "../../../hub/tests/main/server.rs"]
#[allow(dead_code, reason = "the tests of fetching itself use the rest")]
mod server;
mod support;
mod usage;
