//! GEMM on slices, transposed or not: matrix products that may be read transposed: by [`bf16`] where that can, by [`single`]
//! otherwise.

use std::mem::MaybeUninit;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::bf16::weight::Weight;
use super::bf16::{self, Digits, Right, Start, Target};
use super::rows::sum_rows;
use super::single;
use super::storage::{dense, filled, piece, solid, tensor, values, width};
use crate::products::Products;
use crate::setting::{Setting, setting};

/// Products with fewer multiplications than this stay on one thread.
const WORTH_THREADS: usize = 1 << 21;

/// Products with fewer multiplications, or shorter sides, than this are not worth taking numbers apart.
const WORTH_DIGITS: (usize, usize) = (1 << 23, 16);

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

/// How a product is made and placed in its target.
#[derive(Clone, Copy)]
pub(crate) struct Placement {
    /// Distance between the rows of the target.
    pub(crate) stride: usize,
    /// Whether to use more than one thread when the product is worth it.
    pub(crate) threads: bool,
    /// Precision of the operands.
    pub(crate) products: Products,
}

/// `target = left · right`: all elements of the product are initialised when this returns.
pub(crate) fn write_product(
    target: &mut [MaybeUninit<f32>],
    left: Matrix,
    right: Matrix,
    placement: Placement,
) {
    // SAFETY: the target is as long as given, and is not read.
    unsafe {
        multiply(
            target.as_mut_ptr().cast(),
            target.len(),
            false,
            left,
            right,
            placement,
        )
    };
}

/// [`write_product`] over numbers that are there.
pub(crate) fn set_product(target: &mut [f32], left: Matrix, right: Matrix, placement: Placement) {
    // SAFETY: the target is as long as given.
    unsafe { multiply(target.as_mut_ptr(), target.len(), false, left, right, placement) };
}

/// `target += left · right`.
pub(crate) fn add_product(target: &mut [f32], left: Matrix, right: Matrix, placement: Placement) {
    // SAFETY: the target is as long as given, and initialised.
    unsafe { multiply(target.as_mut_ptr(), target.len(), true, left, right, placement) };
}

/// What stands for the numbers where [`bf16`] makes a product of `[rows, columns, depth]`, if it does.
fn digits(products: Products, [rows, columns, depth]: [usize; 3]) -> Option<Digits> {
    let (multiplications, side) = match setting() {
        Setting::Tiles => (0, 0),
        _ => WORTH_DIGITS,
    };
    let worth = rows * columns * depth >= multiplications && rows.min(columns).min(depth) >= side;
    match products {
        // Without a unit for bfloat16 rounding would only cost time: the operands as they are, in what is fastest then.
        Products::Bf16 if bf16::multiplies() => Some(Digits::One),
        _ if worth && bf16::in_tiles() => Some(Digits::Three),
        _ if !single::multiplies() => Some(Digits::Single),
        _ => None,
    }
}

/// The product, added to the target or in place of what it holds.
///
/// # Safety
///
/// `target` must be valid for writing `length` numbers and, if it is added to, for reading them.
unsafe fn multiply(
    target: *mut f32,
    length: usize,
    add: bool,
    left: Matrix,
    right: Matrix,
    placement: Placement,
) {
    let (rows, columns, depth) = (left.rows, right.columns, left.columns);
    assert_eq!(depth, right.rows, "matrix product: inner sizes");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(depth > 0, "matrix product: a sum of nothing");
    assert!(
        left.fits() && right.fits(),
        "matrix product: operands within their slices"
    );
    assert!(
        columns <= placement.stride && (rows - 1) * placement.stride + columns <= length,
        "matrix product: target within its slice"
    );
    let threads = placement.threads && rows * columns * depth >= WORTH_THREADS;
    if let Some(digits) = digits(placement.products, [rows, columns, depth]) {
        let place = Target {
            first: target,
            stride: placement.stride,
        };
        let start = if add { Start::Target } else { Start::Zero };
        // SAFETY: the target is as large as asserted, and borrowed by the caller.
        return unsafe { bf16::multiply(place, left, Right::Matrix(right), start, digits, threads) };
    }
    let parallelism = if threads {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: all three matrices lie within their slices, as asserted; callers borrow the target mutably, so that it
    // overlaps neither operand.
    unsafe { single::multiply(target, placement.stride, add, left, right, parallelism) };
}

/// `left · right` in fresh memory, rows one after the other; each row starts from `bias` if there is one.
pub(crate) fn product(left: Matrix, right: Matrix, bias: Option<&[f32]>, products: Products) -> Vec<f32> {
    if let Some(digits) = digits(products, [left.rows, right.columns, left.columns]) {
        return tiled_product(left, Right::Matrix(right), bias, digits);
    }
    let placement = Placement {
        stride: right.columns,
        threads: true,
        products,
    };
    let Some(bias) = bias else {
        let fill = |target: &mut [MaybeUninit<f32>]| write_product(target, left, right, placement);
        // SAFETY: the product covers the target.
        return unsafe { filled(left.rows * right.columns, fill) };
    };
    let fill = |target: &mut [MaybeUninit<f32>]| {
        target.par_chunks_mut(piece(bias.len())).for_each(|rows| {
            for row in rows.chunks_exact_mut(bias.len()) {
                row.write_copy_of_slice(bias);
            }
        });
    };
    // SAFETY: the target is made of rows as long as the bias, and each is written.
    let mut target = unsafe { filled(left.rows * bias.len(), fill) };
    add_product(&mut target, left, right, placement);
    target
}

/// [`product`] by [`bf16`].
fn tiled_product(left: Matrix, right: Right, bias: Option<&[f32]>, digits: Digits) -> Vec<f32> {
    let (rows, columns, depth) = (left.rows, right.columns(), left.columns);
    assert_eq!(depth, right.depth(), "matrix product: inner sizes");
    assert!(
        left.fits() && bias.is_none_or(|bias| bias.len() == columns),
        "matrix product: operands within their slices"
    );
    let start = bias.map_or(Start::Zero, Start::Row);
    let fill = |target: &mut [MaybeUninit<f32>]| {
        if target.is_empty() {
            return;
        }
        assert!(depth > 0, "matrix product: a sum of nothing");
        let place = Target {
            first: target.as_mut_ptr().cast(),
            stride: columns,
        };
        // SAFETY: the target has a place for each row and column.
        unsafe {
            bf16::multiply(
                place,
                left,
                right,
                start,
                digits,
                rows * columns * depth >= WORTH_THREADS,
            )
        };
    };
    // SAFETY: the product covers the target.
    unsafe { filled(rows * columns, fill) }
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
pub(crate) fn linear(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    products: Products,
) -> FlexTensor {
    let bias = bias.map(|bias| dense(bias.clone()));
    let y = with_weight(weight, |weight| {
        product(
            Matrix::new(values(x), width(x)),
            weight.transposed(),
            bias.as_ref().map(values),
            products,
        )
    });
    let mut shape = x.layout().shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight.layout().shape()[0];
    tensor(y, shape)
}

/// The gradient of `x` in [`linear`]: `gradient · weight`; `gradient` dense.
pub(crate) fn linear_backward_x(
    gradient: &FlexTensor,
    weight: &FlexTensor,
    products: Products,
) -> FlexTensor {
    let x = with_weight(weight, |weight| {
        product(
            Matrix::new(values(gradient), width(gradient)),
            weight,
            None,
            products,
        )
    });
    let mut shape = gradient.layout().shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight.layout().shape()[1];
    tensor(x, shape)
}

/// `x · weightᵀ + bias`; `x` and the bias dense.
pub(crate) fn packed_linear(x: &FlexTensor, weight: &Weight, bias: Option<&FlexTensor>) -> FlexTensor {
    let left = Matrix::new(values(x), weight.inputs());
    let y = tiled_product(
        left,
        Right::Transposed(weight),
        bias.map(values),
        Digits::nearest(),
    );
    let mut shape = x.layout().shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight.outputs();
    tensor(y, shape)
}

/// The gradient of `x` in [`packed_linear`]: `gradient · weight`; `gradient` dense.
pub(crate) fn packed_linear_backward(gradient: &FlexTensor, weight: &Weight) -> FlexTensor {
    let left = Matrix::new(values(gradient), weight.outputs());
    let x = tiled_product(left, Right::Straight(weight), None, Digits::nearest());
    let mut shape = gradient.layout().shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight.inputs();
    tensor(x, shape)
}

/// The gradient of the weight in [`linear`]: `gradientᵀ · x`, added to `sum` if there is one; both dense.
pub(crate) fn linear_backward_weight(
    gradient: &FlexTensor,
    x: &FlexTensor,
    sum: Option<FlexTensor>,
    products: Products,
) -> FlexTensor {
    let (out_width, in_width) = (width(gradient), width(x));
    let left = Matrix::new(values(gradient), out_width).transposed();
    let right = Matrix::new(values(x), in_width);
    let Some(sum) = sum else {
        return tensor(product(left, right, None, products), [out_width, in_width]);
    };
    let mut sum = solid(sum);
    let placement = Placement {
        stride: in_width,
        threads: true,
        products,
    };
    add_product(sum.storage_mut(), left, right, placement);
    sum
}

/// The gradient of the bias in [`linear`]: the sum of the rows; `gradient` dense.
pub(crate) fn linear_backward_bias(gradient: &FlexTensor) -> FlexTensor {
    let width = width(gradient);
    tensor(sum_rows(values(gradient), width), [width])
}
