//! Cross-entropy, and fused linear cross-entropy: with the linear map in front of it.

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::change::Change;
use super::linear::{Matrix, Placement, add_product, product, set_product};
use super::rows::{add_to, largest, multiply_by, softmax_rows, sum, sum_of_powers, sum_rows};
use super::simd::vectorised;
use super::storage::{change_rows, tensor, values, width};
use crate::products::Products;

/// Logits that the fused loss holds at a time: enough rows that reading and packing the weight does not count.
const LOGITS: usize = 1 << 25;

/// What each row is held against.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    classes: Vec<usize>,
    label_smoothing: f32,
}

impl Targets {
    /// Reads the targets; they must lie in `0..count`.
    pub(crate) fn new(targets: FlexTensor, count: usize, label_smoothing: f64) -> Self {
        let read = |target: i64| match usize::try_from(target) {
            Ok(target) if target < count => target,
            _ => panic!("cross-entropy: target {target} is none of the {count} classes"),
        };
        let classes = targets.into_data().iter::<i64>().map(read).collect();
        Self {
            classes,
            label_smoothing: label_smoothing as f32,
        }
    }

    /// `-log p` of the target's distribution for the row's logits.
    fn cost(&self, index: usize, logits: &[f32]) -> f64 {
        let largest = largest(logits);
        let normaliser = f64::from(largest) + f64::from(sum_of_powers(logits, largest)).ln();
        let smoothing = f64::from(self.label_smoothing);
        let cost = normaliser - f64::from(logits[self.classes[index]]);
        if smoothing == 0.0 {
            return cost;
        }
        let mean = normaliser - f64::from(sum(logits)) / logits.len() as f64;
        (1.0 - smoothing) * cost + smoothing * mean
    }

    /// The gradient of the mean cost over all rows, in place of a row's logits.
    fn gradient(&self, index: usize, logits: &mut [f32]) {
        let scale = 1.0 / self.classes.len() as f32;
        let even = self.label_smoothing / logits.len() as f32;
        softmax_rows(logits, logits.len(), logits.len() as isize, 0);
        shift_and_scale(logits, even, scale);
        logits[self.classes[index]] -= (1.0 - self.label_smoothing) * scale;
    }

    fn mean(&self, costs: &[f64]) -> f32 {
        (costs.iter().sum::<f64>() / costs.len() as f64) as f32
    }
}

/// Mean cost of the rows of `logits`; dense.
pub(crate) fn cross_entropy(logits: &FlexTensor, targets: &Targets) -> FlexTensor {
    let rows = values(logits).par_chunks(width(logits)).enumerate();
    let costs: Vec<f64> = rows.map(|(index, logits)| targets.cost(index, logits)).collect();
    tensor(vec![targets.mean(&costs)], [1])
}

/// The gradient of the logits, from that of the mean cost.
pub(crate) fn cross_entropy_backward(
    logits: FlexTensor,
    targets: &Targets,
    gradient: &FlexTensor,
) -> FlexTensor {
    let factor = values(gradient)[0];
    let width = width(&logits);
    change_rows(logits, width, |rows, start| {
        let rows = rows.all([], |x, []| x);
        for (offset, logits) in rows.chunks_exact_mut(width).enumerate() {
            targets.gradient(start / width + offset, logits);
            multiply_by(logits, factor);
        }
        rows
    })
}

/// A linear map with cross-entropy behind it, over dense tensors.
pub(crate) struct LinearCrossEntropy<'a> {
    /// `[rows, width]`.
    pub(crate) hidden: &'a FlexTensor,
    /// `[classes, width]`.
    pub(crate) weight: &'a FlexTensor,
    /// `[classes]`.
    pub(crate) bias: Option<&'a FlexTensor>,
    pub(crate) targets: &'a Targets,
    pub(crate) products: Products,
}

/// Gradients of the mean cost; those that are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinearGradients {
    pub(crate) hidden: Option<FlexTensor>,
    pub(crate) weight: Option<FlexTensor>,
    pub(crate) bias: Option<FlexTensor>,
}

/// Which gradients are wanted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) hidden: bool,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
}

impl LinearCrossEntropy<'_> {
    /// The mean cost and the wanted gradients, some rows at a time: the logits of those rows become their gradient in
    /// place, and are gone when the next rows come.
    pub(crate) fn run(&self, wanted: Wanted) -> (FlexTensor, LinearGradients) {
        let (width, classes) = (width(self.hidden), self.weight.layout().shape()[0]);
        let hidden = values(self.hidden);
        let weight = Matrix::new(values(self.weight), width);
        let bias = self.bias.map(values);
        let rows = hidden.len() / width;
        let any = wanted.hidden || wanted.weight || wanted.bias;
        let mut of_hidden = wanted.hidden.then(|| vec![0.0; hidden.len()]);
        let mut of_weight = wanted.weight.then(|| vec![0.0; weight.values.len()]);
        let mut of_bias = wanted.bias.then(|| vec![0.0; classes]);
        let mut costs = Vec::with_capacity(rows);
        let blocks = rows.div_ceil((LOGITS / classes).max(1));
        let block = rows.div_ceil(blocks);
        let placement = Placement {
            stride: width,
            threads: true,
            products: self.products,
        };
        for start in (0..rows).step_by(block) {
            let end = (start + block).min(rows);
            let part = start * width..end * width;
            let input = Matrix::new(&hidden[part.clone()], width);
            let mut logits = product(input, weight.transposed(), bias, self.products);
            let cost = |(offset, logits): (usize, &mut [f32])| {
                let cost = self.targets.cost(start + offset, logits);
                if any {
                    self.targets.gradient(start + offset, logits);
                }
                cost
            };
            costs.par_extend(logits.par_chunks_mut(classes).enumerate().map(cost));
            let gradient = Matrix::new(&logits, classes);
            if let Some(of_hidden) = &mut of_hidden {
                set_product(&mut of_hidden[part], gradient, weight, placement);
            }
            if let Some(of_weight) = &mut of_weight {
                add_product(of_weight, gradient.transposed(), input, placement);
            }
            if let Some(of_bias) = &mut of_bias {
                add_to(of_bias, &sum_rows(&logits, classes));
            }
        }
        let gradients = LinearGradients {
            hidden: of_hidden.map(|values| tensor(values, [rows, width])),
            weight: of_weight.map(|values| tensor(values, [classes, width])),
            bias: of_bias.map(|values| tensor(values, [classes])),
        };
        (tensor(vec![self.targets.mean(&costs)], [1]), gradients)
    }
}

/// `x * factor`; most often the factor is 1 and nothing is to be done.
pub(crate) fn scaled(x: FlexTensor, factor: f32) -> FlexTensor {
    if factor == 1.0 {
        x
    } else {
        change_rows(x, 1, |x, _| scale(x, factor))
    }
}

vectorised! {
    fn scale<'a>(x: Change<'a>, factor: f32) -> &'a mut [f32] {
        x.all([], |x, []| x * factor)
    }

    fn shift_and_scale(x: &mut [f32], shift: f32, scale: f32) {
        for x in x {
            *x = (*x - shift) * scale;
        }
    }
}
