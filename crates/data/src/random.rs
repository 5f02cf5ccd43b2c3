//! A seeded stream of random numbers whose values are part of a data set's definition.
//!
//! The draws are spelled out here, on top of the ChaCha8 key stream alone, so that an upgrade of a
//! distributions library cannot silently change what a seed means.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// Random numbers decided by a seed and the name of what they are for.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream for `purpose` under `seed`, at position `index` (a scene's index, an epoch).
    ///
    /// Different purposes and different indices give independent streams.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        hasher.update(index.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Self(ChaCha8Rng::from_seed(hasher.finalize().into()))
    }

    /// A whole number in `0..bound`, without bias.
    ///
    /// # Panics
    /// If `bound` is 0: there is nothing to draw from.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "cannot draw a number below 0");
        let bound = bound as u64;
        // Numbers past the last whole multiple of `bound` would favour the small results: draw again.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.bits();
            if drawn < limit {
                return (drawn % bound) as usize;
            }
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `[0, 1)` with 24 random bits, exact in `f32`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// A number in `[low, high)`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If `choices` is empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Brings `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
