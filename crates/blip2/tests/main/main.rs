//! The composed models from outside, against what the reference implementations computed.

mod golden_captioner;
