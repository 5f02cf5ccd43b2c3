//! SGEMM: products in single precision by the `gemm` crate, which takes the widest vector unit of the processor by itself: here
//! it is held to the one of the setting.

use super::linear::Matrix;
#[cfg(target_arch = "x86_64")]
use super::simd::{Unit, unit};

/// Products of fewer multiplications, such as those of a head of attention over a sentence, hardly fill panels of sixteen numbers: eight
/// at a time are faster.
#[cfg(target_arch = "x86_64")]
const NARROW: usize = 1 << 20;

/// Whether the unit multiplies by the crate: that has nothing for the oldest processors but one number at a time.
pub(super) fn multiplies() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !matches!(unit(), Unit::Baseline);
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// `target = left · right`, added to what it holds where `add`.
///
/// # Safety
///
/// Both operands must lie within their slices. The target must be valid for writing rows `stride` apart and, if it is added
/// to, for reading them; nobody else may use it meanwhile.
pub(super) unsafe fn multiply(
    target: *mut f32,
    stride: usize,
    add: bool,
    left: Matrix,
    right: Matrix,
    parallelism: gemm::Parallelism,
) {
    // The target by columns, as the crate likes it best: all turned around.
    #[cfg(target_arch = "x86_64")]
    let product = match unit() {
        Unit::Middle => middle,
        Unit::Wide if left.rows * right.columns * left.columns < NARROW => middle,
        Unit::Wide | Unit::Baseline => gemm::gemm::<f32>,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let product = gemm::gemm::<f32>;
    // SAFETY: as promised by the caller; the unit was found.
    unsafe {
        product(
            right.columns,
            left.rows,
            left.columns,
            target,
            stride as isize,
            1,
            add,
            right.values.as_ptr(),
            right.row_stride as isize,
            right.column_stride as isize,
            left.values.as_ptr(),
            left.row_stride as isize,
            left.column_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// What [`gemm::gemm`] calls where there are AVX2 and FMA, and nothing wider.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::too_many_arguments, reason = "those of the crate")]
unsafe fn middle(
    rows: usize,
    columns: usize,
    depth: usize,
    target: *mut f32,
    target_columns: isize,
    target_rows: isize,
    add: bool,
    left: *const f32,
    left_columns: isize,
    left_rows: isize,
    right: *const f32,
    right_columns: isize,
    right_rows: isize,
    alpha: f32,
    beta: f32,
    conjugate_target: bool,
    conjugate_left: bool,
    conjugate_right: bool,
    parallelism: gemm::Parallelism,
) {
    use gemm_common::gemm::gemm_basic_generic;
    use gemm_common::simd::{MixedSimd, V3};
    use gemm_f32::microkernel::fma::f32::{H_M, H_N, H_UKR, MR_DIV_N, NR, UKR};

    /// Numbers of a vector.
    const WIDTH: usize = 8;

    let unit = <V3 as MixedSimd<f32, f32, f32, f32>>::try_new();
    // SAFETY: as promised by the caller.
    unsafe {
        gemm_basic_generic::<V3, f32, WIDTH, { MR_DIV_N * WIDTH }, NR, MR_DIV_N, H_M, H_N>(
            unit.expect("a processor with AVX2 and FMA, which `unit` has found"),
            rows,
            columns,
            depth,
            target,
            target_columns,
            target_rows,
            add,
            left,
            left_columns,
            left_rows,
            right,
            right_columns,
            right_rows,
            alpha,
            beta,
            conjugate_target,
            conjugate_left,
            conjugate_right,
            |a, b, c| a * b + c,
            &UKR,
            &H_UKR,
            false,
            parallelism,
        );
    }
}
