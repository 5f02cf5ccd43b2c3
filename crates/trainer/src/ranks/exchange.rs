//! What ranks tell each other in a step of stage 1: embeddings to all; features and token ids of drawn negatives to whoever drew
//! them.

use std::collections::BTreeSet;
use std::ops::Range;

use blip2_distributed::Communicator;
use blip2_objectives::{Embeddings, RepresentationStep};
use burn::tensor::{Tensor, TensorData};
use half::f16;

use crate::{Batch, Sighted, TrainError};

/// How many tokens each text of the global batch has, those of this rank's rows being `own`.
pub(crate) fn gather_lengths(ranks: &Communicator, own: &[Vec<u32>]) -> Result<Vec<usize>, TrainError> {
    let lengths: Vec<u32> = own.iter().map(|text| text.len() as u32).collect();
    let all = ranks
        .all_gather("text lengths", bytemuck::cast_slice(&lengths))?
        .concat();
    let all: Vec<u32> = bytemuck::pod_collect_to_vec(&all);
    Ok(all.into_iter().map(|length| length as usize).collect())
}

/// Which picture each row of the global batch shows, those of this rank's rows being `own`.
pub(crate) fn gather_pictures(ranks: &Communicator, own: &[u64]) -> Result<Vec<u64>, TrainError> {
    let all = ranks.all_gather("image ids", bytemuck::cast_slice(own))?.concat();
    Ok(bytemuck::pod_collect_to_vec(&all))
}

/// The embeddings of the global batch, those of this rank's rows being `own`.
pub(crate) fn gather_embeddings(ranks: &Communicator, own: Embeddings) -> Result<Embeddings, TrainError> {
    if ranks.is_alone() {
        return Ok(own);
    }
    let device = own.images.device();
    let [pairs, queries, width] = own.images.dims();
    let mut values = numbers(own.images)?;
    values.extend(numbers(own.texts)?);
    let parts = ranks.all_gather("embeddings", bytemuck::cast_slice(&values))?;
    let parts = parts.iter().map(|bytes| {
        let mut images: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        let texts = images.split_off(pairs * queries * width);
        Embeddings {
            images: Tensor::from_data(TensorData::new(images, [pairs, queries, width]), &device),
            texts: Tensor::from_data(TensorData::new(texts, [pairs, width]), &device),
        }
    });
    Ok(Embeddings::gathered(parts.collect()))
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let data = tensor.into_data();
    let numbers = data.as_slice::<f32>().map(<[f32]>::to_vec);
    numbers.map_err(|error| TrainError::Ranks(format!("embeddings or features cannot be read: {error:?}")))
}

/// Rows of other ranks that were drawn as negatives here; none as yet.
#[derive(Default)]
pub(crate) struct Elsewhere {
    /// Rows of the global batch in their order, and their features `[rows, tokens, width]`.
    images: Vec<usize>,
    features: Option<Tensor<3>>,
    /// Rows of the global batch and their token ids.
    pub(crate) texts: Vec<(usize, Vec<u32>)>,
}

impl Elsewhere {
    /// Asks for what `step` has drawn here and lies on other ranks, and gives what they have drawn: of `batch` and `texts`, which are
    /// the rows `own` of the global batch.
    pub(crate) fn exchange(
        ranks: &Communicator,
        batch: &Batch,
        texts: &[Vec<u32>],
        own: &Range<usize>,
        step: &RepresentationStep<'_>,
    ) -> Result<Self, TrainError> {
        if ranks.is_alone() {
            return Ok(Self::default());
        }
        let elsewhere = |rows: &mut dyn Iterator<Item = &usize>| -> Vec<usize> {
            let rows: BTreeSet<usize> = rows.copied().filter(|row| !own.contains(row)).collect();
            rows.into_iter().collect()
        };
        let images = elsewhere(&mut step.drawn().flat_map(|drawn| &drawn.images));
        let wanted = elsewhere(&mut step.drawn().flat_map(|drawn| &drawn.texts));
        let asked_images = asked(ranks, "images wanted", &images, own)?;
        let asked_texts = asked(ranks, "texts wanted", &wanted, own)?;

        let replies = asked_images.iter().map(|rows| packed_features(batch, rows));
        let replies = replies.collect::<Result<Vec<_>, _>>()?;
        let features = ranks.all_to_all("features of negatives", &replies)?;
        let [_, tokens, width] = batch.features.dims();
        let features: Vec<f32> = features
            .iter()
            .flat_map(|bytes| unpacked_features(bytes))
            .collect();
        let features = match images.is_empty() {
            true => None,
            false => {
                let shape = [images.len(), tokens, width];
                fits(features.len(), shape.iter().product(), "features of negatives")?;
                Some(Tensor::from_data(
                    TensorData::new(features, shape),
                    &batch.features.device(),
                ))
            }
        };

        let replies: Vec<Vec<u8>> = asked_texts
            .iter()
            .map(|rows| {
                let ids = rows
                    .iter()
                    .flat_map(|row| std::iter::once(texts[*row].len() as u32).chain(texts[*row].clone()));
                bytemuck::cast_slice(&ids.collect::<Vec<u32>>()).to_vec()
            })
            .collect();
        let ids = ranks.all_to_all("texts of negatives", &replies)?.concat();
        let mut ids = bytemuck::pod_collect_to_vec::<u8, u32>(&ids).into_iter();
        let mut text = || {
            let length = ids.next().unwrap_or_default() as usize;
            ids.by_ref().take(length).collect::<Vec<u32>>()
        };
        let texts: Vec<_> = wanted.into_iter().map(|row| (row, text())).collect();
        Ok(Self {
            images,
            features,
            texts,
        })
    }

    /// Features of `rows` of the global batch, of which the batch has the rows `own`, as the model sees them, and the rest has come
    /// from elsewhere.
    pub(crate) fn features_of<M: Sighted>(
        &self,
        rows: &[usize],
        (model, batch): (&M, &Batch),
        own: &Range<usize>,
    ) -> Result<Tensor<3>, TrainError> {
        let mut pieces = Vec::new();
        for run in rows.chunk_by(|left, right| own.contains(left) == own.contains(right)) {
            if own.contains(&run[0]) {
                let here: Vec<usize> = run.iter().map(|row| row - own.start).collect();
                pieces.push(model.features(batch, &here)?);
                continue;
            }
            let missing = || TrainError::Ranks(format!("the features of rows {run:?} have not come"));
            let features = self.features.as_ref().ok_or_else(missing)?;
            let places = run.iter().map(|row| self.images.binary_search(row));
            let places = places.collect::<Result<Vec<_>, _>>().map_err(|_| missing())?;
            let come = Batch {
                rows: Vec::new(),
                features: features.clone(),
            };
            pieces.push(come.features_of(&places));
        }
        Ok(match pieces.len() {
            1 => pieces.swap_remove(0),
            _ => Tensor::cat(pieces, 0),
        })
    }
}

/// Tells each rank which of its rows are `wanted` here, and gives which of the rows `own`, counted from the first of them, each
/// other rank wants.
fn asked(
    ranks: &Communicator,
    what: &'static str,
    wanted: &[usize],
    own: &Range<usize>,
) -> Result<Vec<Vec<usize>>, TrainError> {
    let to: Vec<Vec<u8>> = (0..ranks.size())
        .map(|rank| {
            let first = rank * own.len();
            let of_rank = wanted
                .iter()
                .filter(|row| (first..first + own.len()).contains(row));
            let of_rank: Vec<u32> = of_rank.map(|row| (row - first) as u32).collect();
            bytemuck::cast_slice(&of_rank).to_vec()
        })
        .collect();
    let asked = ranks.all_to_all(what, &to)?;
    asked
        .iter()
        .map(|bytes| {
            let rows: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
            let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
            fits(
                rows.iter().filter(|row| **row < own.len()).count(),
                rows.len(),
                what,
            )?;
            Ok(rows)
        })
        .collect()
}

fn fits(came: usize, expected: usize, what: &str) -> Result<(), TrainError> {
    match came == expected {
        true => Ok(()),
        false => Err(TrainError::Ranks(format!(
            "{what}: {came} numbers came where {expected} belong; all ranks must have the same encoder"
        ))),
    }
}

const HALF: u8 = 2;
const SINGLE: u8 = 4;

/// Features of `rows` of `batch`: their bytes a number, then the numbers. In half precision where that holds them exactly, as it
/// does where features are stored; nothing for no rows.
fn packed_features(batch: &Batch, rows: &[usize]) -> Result<Vec<u8>, TrainError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = numbers(batch.features_of(rows))?;
    let halves: Vec<u16> = numbers
        .iter()
        .map(|number| f16::from_f32(*number).to_bits())
        .collect();
    let is_exact =
        |(number, half): (&f32, &u16)| f16::from_bits(*half).to_f32().to_bits() == number.to_bits();
    let (size, bytes): (u8, &[u8]) = match numbers.iter().zip(&halves).all(is_exact) {
        true => (HALF, bytemuck::cast_slice(&halves)),
        false => (SINGLE, bytemuck::cast_slice(&numbers)),
    };
    Ok([&[size], bytes].concat())
}

fn unpacked_features(bytes: &[u8]) -> Vec<f32> {
    match bytes.split_first() {
        None => Vec::new(),
        Some((&HALF, halves)) => bytemuck::pod_collect_to_vec::<u8, u16>(halves)
            .into_iter()
            .map(|half| f16::from_bits(half).to_f32())
            .collect(),
        Some((_, numbers)) => bytemuck::pod_collect_to_vec(numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_travel_in_half_precision_where_it_is_exact() {
        let device = burn::tensor::Device::flex();
        let packed = |values: [f32; 4]| {
            let batch = Batch {
                rows: Vec::new(),
                features: Tensor::from_data(TensorData::new(values.to_vec(), [2, 1, 2]), &device),
            };
            packed_features(&batch, &[1]).expect("features")
        };
        for (values, bytes) in [
            ([0.0, 0.0, 1.5, -0.25], 5),
            ([0.1, 0.1, -0.0, f32::INFINITY], 5),
            ([0.0, 0.0, 0.1, 1.0], 9),
        ] {
            let packed = packed(values);
            assert_eq!(packed.len(), bytes, "{values:?}");
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&unpacked_features(&packed)), bits(&values[2..]));
        }
        assert!(unpacked_features(&[]).is_empty());
    }
}
