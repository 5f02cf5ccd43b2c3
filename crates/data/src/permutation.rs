//! A random order of any length in which every place can be asked for alone: a Feistel network over the numbers below the
//! next power of four, followed until it comes back below the length (cycle walking).

use crate::Stream;

/// Enough for every place to look independent of its number.
const ROUNDS: usize = 6;
/// Networks over fewer numbers have too few keys to reach all orders alike.
const FEWEST_BITS: u32 = 4;

/// An order of the numbers below `count`.
pub(crate) struct Permutation {
    count: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The order that `stream` draws.
    pub(crate) fn new(count: u64, stream: &mut Stream) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self {
            count,
            half: bits.div_ceil(2).max(FEWEST_BITS),
            keys: std::array::from_fn(|_| stream.bits()),
        }
    }

    /// The number at `place`.
    ///
    /// # Panics
    /// Where `place` is not below the count: nothing that is walked through would come back.
    pub(crate) fn at(&self, place: u64) -> u64 {
        assert!(place < self.count, "place {place} of {}", self.count);
        let mut number = self.scramble(place);
        while number >= self.count {
            number = self.scramble(number);
        }
        number
    }

    fn scramble(&self, number: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half | right
    }
}

/// The finaliser of SplitMix64: every bit of the result depends on every bit.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
