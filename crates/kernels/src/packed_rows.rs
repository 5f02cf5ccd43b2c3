//! Embedding lookup in a packed weight, for tables that are looked up and multiplied with.

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::packed::PackedWeight;

/// The rows of `weight` `[entries, width]` at `ids` `[count]`, as `[count, width]` in single precision: what
/// [`PackedWeight::unpacked`] has there.
///
/// # Panics
/// Where an id is not below the number of entries; on GPUs that look rows up themselves ids are not looked at.
pub fn packed_embedding(weight: &PackedWeight, ids: Tensor<1, Int>) -> Tensor<2> {
    let [entries, width] = weight.dims();
    let device = ids.device();
    #[cfg(feature = "gpu")]
    if crate::gpu::serves(&device) {
        return weight.rows_on_device(ids);
    }
    let ids: Vec<i64> = ids.into_data().iter().collect();
    let mut rows = vec![0.0; ids.len() * width];
    rows.par_chunks_mut(width).zip(&ids).for_each(|(row, id)| {
        let entry = usize::try_from(*id).ok().filter(|entry| *entry < entries);
        let entry = entry.unwrap_or_else(|| panic!("packed_embedding: id {id} is not one of {entries} rows"));
        weight.weight().row(entry, row);
    });
    Tensor::from_data(TensorData::new(rows, [ids.len(), width]), &device)
}
