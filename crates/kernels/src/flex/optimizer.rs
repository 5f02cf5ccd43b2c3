//! Fused AdamW: the optimiser's step in one pass over its four tensors, and the sum of squares.

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::simd::{multiply_add, reduce, vectorised};
use super::storage::{dense, piece, solid, values};
use crate::AdamWStep;

/// The factors of a step, as the kernel needs them.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    kept: f32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    second_correction: f32,
    gradient_scale: f32,
}

impl Factors {
    fn new(step: &AdamWStep, gradient_scale: f64) -> Self {
        let (first_correction, second_correction) = step.corrections();
        Self {
            kept: (1.0 - step.learning_rate * step.weight_decay) as f32,
            rate: (step.learning_rate * first_correction) as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            epsilon: step.epsilon as f32,
            second_correction: second_correction as f32,
            gradient_scale: gradient_scale as f32,
        }
    }
}

/// Parameter, first and second moment after the step.
pub(crate) fn adamw(
    parameter: FlexTensor,
    gradient: FlexTensor,
    first_moment: FlexTensor,
    second_moment: FlexTensor,
    step: &AdamWStep,
    gradient_scale: f64,
) -> [FlexTensor; 3] {
    let factors = Factors::new(step, gradient_scale);
    let gradient = dense(gradient);
    let [mut parameter, mut first, mut second] = [parameter, first_moment, second_moment].map(solid);
    let piece = piece(1);
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(piece)
        .zip(values(&gradient).par_chunks(piece))
        .zip(
            first
                .storage_mut::<f32>()
                .par_chunks_mut(piece)
                .zip(second.storage_mut::<f32>().par_chunks_mut(piece)),
        )
        .for_each(|((parameter, gradient), (first, second))| {
            step_piece(parameter, gradient, first, second, factors)
        });
    [parameter, first, second]
}

/// Sum of squares; pieces are added in order, in double precision.
pub(crate) fn sum_of_squares(x: FlexTensor) -> f64 {
    let x = dense(x);
    // Within a run of this length single precision is good enough.
    let sum = |values: &[f32]| {
        values
            .chunks(1024)
            .map(|run| f64::from(squares(run)))
            .sum::<f64>()
    };
    let sums: Vec<f64> = values(&x).par_chunks(piece(1)).map(sum).collect();
    sums.iter().sum()
}

vectorised! {
    fn step_piece(parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], factors: Factors) {
        let Factors { kept, rate, beta1, beta2, epsilon, second_correction, gradient_scale } = factors;
        let moments = first.iter_mut().zip(second.iter_mut());
        for ((parameter, &gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * gradient_scale;
            *first = multiply_add::<FUSED>(beta1, *first, (1.0 - beta1) * gradient);
            *second = multiply_add::<FUSED>(beta2, *second, (1.0 - beta2) * gradient * gradient);
            let divisor = (*second * second_correction).sqrt() + epsilon;
            *parameter = *parameter * kept - rate * *first / divisor;
        }
    }

    fn squares(x: &[f32]) -> f32 {
        reduce([x; 3], 0.0, |sum, [x, ..]| multiply_add::<FUSED>(x, x, sum), |a, b| a + b)
    }
}
