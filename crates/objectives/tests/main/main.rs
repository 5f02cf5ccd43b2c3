//! The objectives against LAVIS and against their own formulas, in one binary.

mod case;
mod floor;
mod golden_stage1;
mod golden_stage2;
mod gradients;
mod hard_negatives;
mod itc;
mod itg;
mod parts;
mod start;
mod threads;
#[path = "../../../qformer/tests/main/tiny.rs"]
mod tiny;
