//! A sum over ranks in an order that does not depend on their number.

use std::ops::Range;

use crate::communicator::split;
use crate::operation::Operation;
use crate::{BUCKET, CollectiveError, Communicator, OrderedSum};

/// Sums over neighbouring parts, all of as many numbers.
type Node = (Range<usize>, Vec<f32>);

impl Communicator {
    /// The sum over the parts of all ranks in the order of [`OrderedSum`]: bit for bit the same on any number of ranks. `own` are
    /// the nodes of this rank, whose parts lie behind those of the rank before, with as many numbers everywhere.
    ///
    /// Each rank adds up its share of a bucket and gives it to all: as many bytes travel as in a ring, where each rank has one
    /// node.
    ///
    /// # Errors
    /// As for [`Communicator::barrier`].
    pub fn sum_in_order(&self, what: &'static str, own: &[Node]) -> Result<Vec<f32>, CollectiveError> {
        let length = own.first().map_or(0, |(_, values)| values.len());
        let Some(engine) = self.engine() else {
            let ranges = [own.iter().map(|(parts, _)| parts.clone()).collect()];
            let values = [own.iter().flat_map(|(_, values)| values).copied().collect()];
            return Ok(sum_of_nodes(&ranges, &values, length));
        };
        let (rank, size) = (engine.rank(), engine.size());
        let operation = Operation::new("sum_in_order", what, length * size_of::<f32>());
        self.meet(engine, &operation)?;
        let nodes = self.nodes_of_all(own)?;
        let mut sums = Vec::with_capacity(length);
        for start in (0..length).step_by(BUCKET) {
            let bucket = start..(start + BUCKET).min(length);
            let share = |rank: usize| {
                let at = |rank: usize| bucket.start + bucket.len() * rank / size;
                at(rank)..at(rank + 1)
            };
            let bytes = |rank: usize| share(rank).len() * size_of::<f32>();
            let to: Vec<usize> = (0..size).map(|rank| own.len() * bytes(rank)).collect();
            let from: Vec<usize> = nodes.iter().map(|nodes| nodes.len() * bytes(rank)).collect();
            let handed: Vec<f32> = (0..size)
                .flat_map(|rank| own.iter().flat_map(move |(_, values)| &values[share(rank)]))
                .copied()
                .collect();
            let came = self.run(engine, &operation, |wait| {
                engine.all_to_all(bytemuck::cast_slice(&handed), &to, &from, wait)
            })?;
            let numbers = |bytes: Vec<u8>| bytemuck::pod_collect_to_vec::<u8, f32>(&bytes);
            let came: Vec<Vec<f32>> = split(&came, &from).into_iter().map(numbers).collect();
            let summed = sum_of_nodes(&nodes, &came, share(rank).len());
            let lengths: Vec<usize> = (0..size).map(bytes).collect();
            let all = self.run(engine, &operation, |wait| {
                engine.all_gather(bytemuck::cast_slice(&summed), &lengths, wait)
            })?;
            let sent = to.iter().sum::<usize>() - to[rank] + bytes(rank) * (size - 1);
            let received = from.iter().sum::<usize>() - from[rank] + all.len() - bytes(rank);
            self.counts().count(what, sent, received);
            sums.extend(numbers(all));
        }
        Ok(sums)
    }

    /// Which sums each rank has.
    fn nodes_of_all(&self, own: &[Node]) -> Result<Vec<Vec<Range<usize>>>, CollectiveError> {
        let ends: Vec<u64> = own
            .iter()
            .flat_map(|(parts, _)| [parts.start as u64, parts.end as u64])
            .collect();
        let all = self.all_gather("parts", bytemuck::cast_slice(&ends))?;
        let ranges = all.iter().map(|ends| {
            let ends: Vec<u64> = bytemuck::pod_collect_to_vec(ends);
            let range = |ends: &[u64]| ends[0] as usize..ends[1] as usize;
            ends.chunks(2).map(range).collect()
        });
        Ok(ranges.collect())
    }
}

/// The sum of `length` numbers over the `nodes` of all ranks, of which `values` holds those of each rank behind one another.
fn sum_of_nodes(nodes: &[Vec<Range<usize>>], values: &[Vec<f32>], length: usize) -> Vec<f32> {
    let mut sum = OrderedSum::default();
    for (nodes, values) in nodes.iter().zip(values) {
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
