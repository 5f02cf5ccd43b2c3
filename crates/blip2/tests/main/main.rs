//! Whole models from folders, as their users load them.

mod generation_golden;
mod golden_captioner;
mod instruction_golden;
mod refusals;
mod retrieval_golden;
mod storage;
mod support;
