//! The Q-Former's passes, its start from BERT, and its sizes, in one binary.

mod bert;
mod bridge;
mod caption;
mod errors;
mod golden_bert;
mod looks;
mod passes;
mod reference;
mod retrieval;
mod sizes;
mod start;
mod support;
mod tiny;
