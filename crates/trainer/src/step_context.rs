//! Which step it is, which part of its batch, and whose: what decides everything random in it.

use std::ops::Range;

use blip2_distributed::Communicator;
use blip2_objectives::SumOrder;

/// How far the seeds of two parts lie apart: not by 1, which is what steps are apart.
const SEEDS_APART: u64 = 0xD1B5_4A32_D192_ED03;

/// What an objective has to know of the step. Everything random is a function of seed, step and row.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    /// From 1.
    pub step: u64,
    /// The run's.
    pub seed: u64,
    /// Which part of the global batch, from 0.
    pub part: usize,
    /// In how many parts it is cut.
    pub parts: usize,
    /// Who computes them.
    pub ranks: &'a Communicator,
    /// In which order their gradients are added up.
    pub order: SumOrder,
}

impl StepContext<'_> {
    /// What the device's own generator is seeded with for this part of the step.
    pub fn device_seed(&self) -> u64 {
        let step = self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(self.step);
        step.wrapping_add((self.part as u64).wrapping_mul(SEEDS_APART))
    }

    /// The parts that this rank computes.
    pub fn own_parts(&self) -> Range<usize> {
        let (rank, size) = (self.ranks.rank(), self.ranks.size());
        rank * self.parts / size..(rank + 1) * self.parts / size
    }
}
