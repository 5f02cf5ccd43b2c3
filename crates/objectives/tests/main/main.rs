//! The objectives against LAVIS and against their own formulas, in one binary.

mod bridge;
mod case;
mod contrast;
mod generation;
mod gradients;
mod lavis;
mod lavis_stage2;
mod negatives;
mod start;
#[path = "../../../qformer/tests/main/tiny.rs"]
mod tiny;
