//! Learned positions for another grid than they were learned on.

use burn::tensor::{Device, Tensor, TensorData};

/// Sharpness of the cubic, as PyTorch's `interpolate(mode="bicubic")` has it.
const SHARPNESS: f64 = -0.75;

/// Bicubic interpolation of `positions` `[rows, columns, width]` to `[new_rows, new_columns, width]`, without
/// antialiasing, beyond the edge the edge: PyTorch's, with its `align_corners`. On the grid that the positions have it
/// changes nothing.
pub(super) fn resize_positions(
    positions: Tensor<3>,
    new_rows: usize,
    new_columns: usize,
    align_corners: bool,
) -> Tensor<3> {
    let [rows, columns, width] = positions.dims();
    let device = positions.device();
    // Bicubic is a product of two resamplings, one a dimension, and each of these is linear.
    let vertical = resampling(rows, new_rows, align_corners, &device);
    let horizontal = resampling(columns, new_columns, align_corners, &device);
    let stretched = vertical.matmul(positions.reshape([rows, columns * width]));
    horizontal
        .unsqueeze::<3>()
        .matmul(stretched.reshape([new_rows, columns, width]))
}

/// The matrix `[new, old]` that resamples a line of `old` values to `new`.
fn resampling(old: usize, new: usize, align_corners: bool, device: &Device) -> Tensor<2> {
    let mut matrix = vec![0.0; new * old];
    // Either the samples' corners coincide and a sample is its place, or the edges do and a sample has an extent.
    let (step, extent) = match align_corners {
        true => ((old - 1) as f64 / (new - 1).max(1) as f64, 0.0),
        false => (old as f64 / new as f64, 0.5),
    };
    for (index, line) in matrix.chunks_exact_mut(old).enumerate() {
        let centre = (index as f64 + extent) * step - extent;
        let before = centre.floor();
        for neighbour in -1..=2 {
            let place = before + f64::from(neighbour);
            let clamped = place.clamp(0.0, (old - 1) as f64) as usize;
            line[clamped] += cubic(centre - place) as f32;
        }
    }
    Tensor::from_data(TensorData::new(matrix, [new, old]), device)
}

/// Weight of a neighbour at `distance` in samples (Keys, 1981).
fn cubic(distance: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1.0
    } else {
        SHARPNESS * (((x - 5.0) * x + 8.0) * x - 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(rows: usize, columns: usize) -> Tensor<3> {
        let values: Vec<f32> = (0..rows * columns)
            .map(|index| (index * index % 7) as f32)
            .collect();
        Tensor::from_data(TensorData::new(values, [rows, columns, 1]), &Device::flex())
    }

    fn values(tensor: Tensor<3>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn the_same_grid_stays_bit_for_bit() {
        let positions = ramp(5, 4);
        for align_corners in [false, true] {
            assert_eq!(
                values(resize_positions(positions.clone(), 5, 4, align_corners)),
                values(positions.clone())
            );
        }
    }

    #[test]
    fn a_constant_stays_constant() {
        let positions = Tensor::<3>::ones([6, 6, 2], &Device::flex());
        for (rows, columns, align_corners) in [(1, 1, false), (3, 11, true), (13, 2, false), (1, 13, true)] {
            let resized = resize_positions(positions.clone(), rows, columns, align_corners);
            assert_eq!(resized.dims(), [rows, columns, 2]);
            assert!(values(resized).iter().all(|value| (value - 1.0).abs() < 1e-6));
        }
    }

    #[test]
    fn rows_and_columns_are_not_mixed_up() {
        for align_corners in [false, true] {
            let resized = values(resize_positions(ramp(5, 4), 3, 7, align_corners));
            let turned = ramp(5, 4).swap_dims(0, 1);
            let turned = values(resize_positions(turned, 7, 3, align_corners).swap_dims(0, 1));
            let largest = resized
                .iter()
                .zip(&turned)
                .fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs()));
            assert!(largest < 1e-5, "{largest}");
        }
    }

    #[test]
    fn aligned_corners_keep_the_samples_and_put_the_cubic_between() {
        let old = values(ramp(1, 5));
        let new = values(resize_positions(ramp(1, 5), 1, 9, true));
        for (index, value) in old.iter().enumerate() {
            assert!((new[2 * index] - value).abs() < 1e-6, "{new:?}");
        }
        // Half way, the cubic weighs the two near neighbours by 19/32 and the two far ones by -3/32.
        for left in 1..3 {
            let near = old[left] + old[left + 1];
            let far = old[left - 1] + old[left + 2];
            let expected = (19.0 * near - 3.0 * far) / 32.0;
            assert!((new[2 * left + 1] - expected).abs() < 1e-5, "{new:?}");
        }
        let other = values(resize_positions(ramp(1, 5), 1, 9, false));
        assert!((other[0] - old[0]).abs() > 1e-3, "{other:?}");
    }
}
