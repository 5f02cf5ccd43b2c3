//! Relative position bias: relative positions as a bias on the scores of attention (Raffel et al., 2020, section 2.1).

use blip2_core::Initializer;
use blip2_core::layers::Embedding;
use burn::module::Module;
use burn::tensor::Tensor;

use super::T5Config;
use crate::batch::list;

/// A learned bias for each head and each bucket of distances; all layers of a stack share it.
#[derive(Module, Debug)]
pub(super) struct PositionBias {
    /// `[buckets, heads]`.
    table: Embedding,
    #[module(skip)]
    buckets: Buckets,
}

/// Near distances have a bucket each, farther ones share ever wider buckets.
#[derive(Clone, Debug)]
struct Buckets {
    count: usize,
    longest: usize,
    /// Whether keys behind the query are told from those before it; they fall together otherwise.
    both_directions: bool,
}

impl PositionBias {
    pub(super) fn new(config: &T5Config, both_directions: bool, initializer: &mut Initializer) -> Self {
        let deviation = (config.hidden_size as f32).sqrt().recip();
        Self {
            table: Embedding::new(initializer, config.distance_buckets, config.heads, deviation),
            buckets: Buckets {
                count: config.distance_buckets,
                longest: config.longest_distance,
                both_directions,
            },
        }
    }

    /// `[1, heads, tokens, tokens]` for `tokens` that see each other.
    pub(super) fn forward(&self, tokens: usize) -> Tensor<4> {
        let buckets = (0..tokens)
            .flat_map(|query| (0..tokens).map(move |key| (query, key)))
            .map(|(query, key)| self.buckets.of(query, key) as i64);
        self.of_buckets(buckets.collect(), 1, tokens)
    }

    /// `[rows, heads, 1, keys]` for the last token of each row, which sees as many keys as `lengths` says, itself included; `rows`
    /// is 1 where all see the same number. Shorter rows are padded on the right.
    pub(super) fn of_last(&self, lengths: &[usize]) -> Tensor<4> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let lengths = match lengths.iter().all(|length| *length == longest) {
            true => &[longest],
            false => lengths,
        };
        let buckets = lengths
            .iter()
            .flat_map(|length| (0..longest).map(move |key| (length.saturating_sub(1), key)))
            .map(|(query, key)| self.buckets.of(query, key) as i64);
        self.of_buckets(buckets.collect(), lengths.len(), 1)
    }

    /// `[rows, heads, queries, keys]` of `buckets`, row after row and query after query.
    fn of_buckets(&self, buckets: Vec<i64>, rows: usize, queries: usize) -> Tensor<4> {
        let weight = self.table.weight.val();
        let [_, heads] = weight.dims();
        let device = weight.device();
        let keys = buckets.len() / (rows * queries);
        weight
            .select(0, list(buckets, &device))
            .reshape([rows, queries, keys, heads])
            .permute([0, 3, 1, 2])
    }
}

impl Buckets {
    fn of(&self, query: usize, key: usize) -> usize {
        let (count, offset, distance) = if self.both_directions {
            let half = self.count / 2;
            let offset = if key > query { half } else { 0 };
            (half, offset, query.abs_diff(key))
        } else {
            (self.count, 0, query.saturating_sub(key))
        };
        let exact = count / 2;
        if distance < exact {
            return offset + distance;
        }
        // In single precision, as the reference: rounding decides distances on the border.
        let range = (self.longest as f64 / exact as f64).ln() as f32;
        let steps = (distance as f32 / exact as f32).ln() / range * (count - exact) as f32;
        offset + (exact + steps as usize).min(count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;

    #[test]
    fn near_distances_are_told_apart_and_far_ones_share_buckets() {
        let both = Buckets {
            count: 32,
            longest: 128,
            both_directions: true,
        };
        // Worked by hand: 8 exact buckets a direction, then 8 + floor(8 ln(d / 8) / ln 16).
        for (distance, bucket) in [
            (0, 0),
            (7, 7),
            (8, 8),
            (11, 8),
            (12, 9),
            (16, 10),
            (64, 14),
            (91, 15),
            (500, 15),
        ] {
            assert_eq!(both.of(distance, 0), bucket, "{distance} back");
            let ahead = if distance == 0 { 0 } else { 16 + bucket };
            assert_eq!(both.of(0, distance), ahead, "{distance} ahead");
        }
        let back = Buckets {
            both_directions: false,
            ..both
        };
        for (distance, bucket) in [
            (0, 0),
            (15, 15),
            (16, 16),
            (18, 16),
            (19, 17),
            (32, 21),
            (128, 31),
            (500, 31),
        ] {
            assert_eq!(back.of(distance, 0), bucket, "{distance} back");
            assert_eq!(back.of(0, distance), 0);
        }
    }
}
