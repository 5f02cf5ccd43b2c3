//! Sums over ranks in buckets: in whatever order the transport likes, or in one that does not depend on the number of ranks.

use std::ops::Range;

use crate::{CollectiveError, Communicator, OrderedSum};

/// Numbers that are reduced at a time, 4 MB: large enough that latency does not count, small enough to stay in caches.
pub const BUCKET: usize = 1 << 20;

impl Communicator {
    /// The sum over all ranks of each of `values`, as many everywhere; the same bits on all ranks.
    ///
    /// # Errors
    /// [`CollectiveError`].
    pub fn sum(&self, what: &'static str, values: &mut [f32]) -> Result<(), CollectiveError> {
        values
            .chunks_mut(BUCKET)
            .try_for_each(|bucket| self.all_reduce(what, bucket))
    }

    /// The sum over the parts of all ranks in the order of [`OrderedSum`]: bit for bit the same on any number of ranks. `own` are
    /// the nodes of this rank, whose parts lie behind those of the rank before, with as many numbers everywhere.
    ///
    /// Each rank adds up its share of a bucket and gives it to all: as many bytes travel as in a ring, where each rank has one
    /// node.
    ///
    /// # Errors
    /// [`CollectiveError`].
    pub fn sum_in_order(
        &self,
        what: &'static str,
        own: &[(Range<usize>, Vec<f32>)],
    ) -> Result<Vec<f32>, CollectiveError> {
        let ranges: Vec<u64> = own
            .iter()
            .flat_map(|(parts, _)| [parts.start as u64, parts.end as u64])
            .collect();
        let nodes: Vec<Vec<Range<usize>>> = self
            .all_gather("parts", bytemuck::cast_slice(&ranges))?
            .iter()
            .map(|ranges| {
                let ends: Vec<u64> = bytemuck::pod_collect_to_vec(ranges);
                ends.chunks(2)
                    .map(|ends| ends[0] as usize..ends[1] as usize)
                    .collect()
            })
            .collect();
        let length = own.first().map_or(0, |(_, values)| values.len());
        let mut sums = Vec::with_capacity(length);
        for start in (0..length).step_by(BUCKET) {
            let bucket = start..(start + BUCKET).min(length);
            let share = |rank: usize| {
                let at = |rank: usize| bucket.start + bucket.len() * rank / self.size();
                at(rank)..at(rank + 1)
            };
            let to: Vec<Vec<u8>> = (0..self.size())
                .map(|rank| {
                    own.iter()
                        .flat_map(|(_, values)| bytemuck::cast_slice(&values[share(rank)]))
                        .copied()
                        .collect()
                })
                .collect();
            let from = self.all_to_all(what, &to)?;
            let summed = sum_of_share(&nodes, &from, share(self.rank()).len());
            for share in self.all_gather(what, bytemuck::cast_slice(&summed))? {
                sums.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&share));
            }
        }
        Ok(sums)
    }
}

/// The sum of `length` numbers over the `nodes` of all ranks, of which `from` holds what each rank sent.
fn sum_of_share(nodes: &[Vec<Range<usize>>], from: &[Vec<u8>], length: usize) -> Vec<f32> {
    let mut sum = OrderedSum::default();
    for (nodes, bytes) in nodes.iter().zip(from) {
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        for (number, parts) in nodes.iter().enumerate() {
            let values = values[number * length..(number + 1) * length].to_vec();
            sum.push(parts.clone(), values, &mut added);
        }
    }
    sum.total(&mut added).unwrap_or_default()
}

fn added(mut left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    left.iter_mut()
        .zip(right)
        .for_each(|(left, right)| *left += right);
    left
}
