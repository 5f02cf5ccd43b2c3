//! The trainer's parts, each through what it offers to others, in one binary. Runs on real models are tested elsewhere.

#[path = "../../../objectives/tests/main/case.rs"]
mod case;
mod checkpoints;
mod circles;
mod evaluators;
mod finetune;
mod golden;
mod golden_device;
mod golden_finetune;
mod golden_ranks;
#[path = "../../../objectives/tests/main/gradients.rs"]
mod gradients;
mod log;
mod optimizer;
mod passed_on;
mod ranks;
mod ranks_training;
mod recipe;
mod recipes;
mod resume;
mod start;
mod steps;
#[path = "../../../qformer/tests/main/tiny.rs"]
mod tiny;
mod training;
mod tuned;
mod words;
