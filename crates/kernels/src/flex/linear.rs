//! Matrix products, by the `gemm` crate, on slices that may be read transposed.

use std::mem::MaybeUninit;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::norm::add_to;
use super::storage::{dense, filled, piece, tensor, values, width};

/// Products with fewer multiplications than this stay on one thread.
const WORTH_THREADS: usize = 1 << 21;

/// A matrix of `rows` by `columns` somewhere in a slice: element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows follow each other.
    pub(crate) fn new(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            rows: values.len() / columns.max(1),
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The same numbers, rows as columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.values.len()
    }
}

/// What a product is written over.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Onto {
    /// Nothing that counts: the target may be uninitialised.
    Nothing,
    /// Numbers that the product is added to.
    Sum,
}

/// `target = factor * left · right`, or added to it. Target rows are `target_stride` apart.
///
/// # Safety
///
/// With [`Onto::Sum`], `target` must be initialised. With [`Onto::Nothing`], all `left.rows` by `right.columns`
/// elements of it are when this returns.
pub(crate) unsafe fn multiply(
    target: &mut [MaybeUninit<f32>],
    target_stride: usize,
    left: Matrix,
    right: Matrix,
    factor: f32,
    onto: Onto,
    threads: bool,
) {
    let (rows, columns, depth) = (left.rows, right.columns, left.columns);
    assert_eq!(depth, right.rows, "matrix product: inner sizes");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(depth > 0, "matrix product: a sum of nothing");
    assert!(
        left.fits() && right.fits() && columns <= target_stride,
        "matrix product: operands within their slices"
    );
    assert!(
        (rows - 1) * target_stride + columns <= target.len(),
        "matrix product: target within its slice"
    );
    let parallelism = if threads && rows * columns * depth >= WORTH_THREADS {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: all three matrices lie within their slices, as asserted; the target is borrowed mutably, so it overlaps
    // neither operand; it is read only when the caller has initialised it.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            target.as_mut_ptr().cast::<f32>(),
            1,
            target_stride as isize,
            onto == Onto::Sum,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `left · right` in fresh memory, rows one after the other; each row starts from `bias` if there is one.
pub(crate) fn product(left: Matrix, right: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    let columns = right.columns;
    let fill = |target: &mut [MaybeUninit<f32>]| {
        let onto = match bias {
            Some(bias) => {
                target.par_chunks_mut(piece(columns)).for_each(|rows| {
                    for row in rows.chunks_exact_mut(columns) {
                        row.write_copy_of_slice(bias);
                    }
                });
                Onto::Sum
            }
            None => Onto::Nothing,
        };
        // SAFETY: the target is initialised where it is added to: each of its rows holds the bias.
        unsafe { multiply(target, columns, left, right, 1.0, onto, true) };
    };
    // SAFETY: the product covers the target.
    unsafe { filled(left.rows * columns, fill) }
}

/// A matrix product added to numbers that are there.
pub(crate) fn add_product(target: &mut [f32], left: Matrix, right: Matrix) {
    let stride = right.columns;
    // SAFETY: `MaybeUninit<f32>` has the layout of `f32`, and the slice is only ever written with numbers.
    let target = unsafe { std::slice::from_raw_parts_mut(target.as_mut_ptr().cast(), target.len()) };
    // SAFETY: the target is initialised.
    unsafe { multiply(target, stride, left, right, 1.0, Onto::Sum, true) };
}

/// A two-dimensional tensor as a matrix, without a copy where its strides allow.
fn weight_matrix(weight: &FlexTensor) -> Option<Matrix<'_>> {
    let (rows, columns, row_stride, column_stride) = weight.layout().as_2d_strides()?;
    let values = &weight.storage::<f32>()[weight.layout().start_offset()..];
    let (row_stride, column_stride) = (
        usize::try_from(row_stride).ok()?,
        usize::try_from(column_stride).ok()?,
    );
    Some(Matrix {
        values,
        rows,
        columns,
        row_stride,
        column_stride,
    })
}

/// Calls `use_matrix` with the weight as a matrix.
fn with_weight<T>(weight: &FlexTensor, use_matrix: impl FnOnce(Matrix) -> T) -> T {
    match weight_matrix(weight) {
        Some(matrix) => use_matrix(matrix),
        None => {
            let weight = dense(weight.clone());
            use_matrix(Matrix::new(values(&weight), width(&weight)))
        }
    }
}

/// `x · weightᵀ + bias`; `x` dense.
pub(crate) fn linear(x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> FlexTensor {
    let bias = bias.map(|bias| dense(bias.clone()));
    let y = with_weight(weight, |weight| {
        product(
            Matrix::new(values(x), width(x)),
            weight.transposed(),
            bias.as_ref().map(values),
        )
    });
    let mut shape = x.layout().shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight.layout().shape()[0];
    tensor(y, shape)
}

/// The gradient of `x` in [`linear`]: `gradient · weight`; `gradient` dense.
pub(crate) fn linear_backward_x(gradient: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let x = with_weight(weight, |weight| {
        product(Matrix::new(values(gradient), width(gradient)), weight, None)
    });
    let mut shape = gradient.layout().shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight.layout().shape()[1];
    tensor(x, shape)
}

/// The gradient of the weight in [`linear`]: `gradientᵀ · x`; both dense.
pub(crate) fn linear_backward_weight(gradient: &FlexTensor, x: &FlexTensor) -> FlexTensor {
    let (out_width, in_width) = (width(gradient), width(x));
    let left = Matrix::new(values(gradient), out_width).transposed();
    tensor(
        product(left, Matrix::new(values(x), in_width), None),
        [out_width, in_width],
    )
}

/// The gradient of the bias in [`linear`]: the sum of the rows; `gradient` dense.
pub(crate) fn linear_backward_bias(gradient: &FlexTensor) -> FlexTensor {
    let width = width(gradient);
    tensor(sum_rows(values(gradient), width), [width])
}

/// Sum of rows that are `width` wide.
pub(crate) fn sum_rows(values: &[f32], width: usize) -> Vec<f32> {
    let sums: Vec<Vec<f32>> = values
        .par_chunks(4 * piece(width))
        .map(|rows| {
            let mut sum = vec![0.0; width];
            rows.chunks_exact(width).for_each(|row| add_to(&mut sum, row));
            sum
        })
        .collect();
    sums.into_iter()
        .reduce(|mut total, sum| {
            add_to(&mut total, &sum);
            total
        })
        .unwrap_or_else(|| vec![0.0; width])
}
