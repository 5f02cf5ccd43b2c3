//! The trainer's parts, each through what it offers to others, in one binary. Runs on real models are tested elsewhere.

#[path = "../../../objectives/tests/main/case.rs"]
mod case;
mod checkpoints;
mod golden;
mod log;
mod optimizer;
mod resume;
mod start;
mod steps;
#[path = "../../../qformer/tests/main/tiny.rs"]
mod tiny;
mod training;
