//! Cross-entropy, over given logits and fused with the linear layer that makes them.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use crate::composed;
use crate::extension::{Kernels, facts, maybe, takes};
use crate::products::products;

/// How [`cross_entropy`] and [`linear_cross_entropy`] weigh the classes.
#[derive(Clone, Debug, Default)]
pub struct CrossEntropyOptions {
    /// Share `e` of the target that is spread evenly over all classes (Szegedy et al., 2016), as in PyTorch: each
    /// row costs `(1 - e) * -log p[target] + e / classes * Σ -log p`.
    pub label_smoothing: f64,
}

/// Mean cross-entropy of `logits` `[rows, classes]` against `targets` `[rows]`; the result is `[1]`.
///
/// Drop rows without a target beforehand; at least one must remain. Targets lie in `0..classes`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, options: CrossEntropyOptions) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    check("cross_entropy", rows, classes, &targets);
    if !takes(&[facts(&logits)]) {
        return composed::cross_entropy(logits, targets, options.label_smoothing);
    }
    let (logits, targets) = (logits.into_dispatch(), targets.into_dispatch());
    Tensor::from_dispatch(Dispatch::cross_entropy(logits, targets, options.label_smoothing))
}

/// [`cross_entropy`] of `hidden · weightᵀ + bias`; the kernels for CPU and GPUs never hold all the logits.
///
/// `hidden` is `[rows, width]`, `weight` `[classes, width]`, `bias` `[classes]`, `targets` `[rows]`; the result is
/// `[1]`.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    targets: Tensor<1, Int>,
    options: CrossEntropyOptions,
) -> Tensor<1> {
    let [rows, width] = hidden.dims();
    let [classes, weight_width] = weight.dims();
    check("linear_cross_entropy", rows, classes, &targets);
    assert_eq!(
        width, weight_width,
        "linear_cross_entropy: hidden [{rows}, {width}] and weight [{classes}, {weight_width}] must share the width"
    );
    if let Some(bias) = &bias {
        assert_eq!(
            bias.dims(),
            [classes],
            "linear_cross_entropy: bias must have one number for each class"
        );
    }
    let smoothing = options.label_smoothing;
    let kernel =
        takes(&[facts(&hidden), facts(&weight)]) && bias.as_ref().is_none_or(|bias| takes(&[facts(bias)]));
    if !kernel {
        #[cfg(feature = "gpu")]
        if crate::gpu::takes(&hidden) && crate::gpu::takes(&weight) {
            return crate::gpu::loss::linear_cross_entropy(
                hidden,
                weight,
                bias,
                targets,
                smoothing,
                products(),
            );
        }
        return composed::cross_entropy(
            composed::linear(hidden, weight, bias, products()),
            targets,
            smoothing,
        );
    }
    let (hidden, weight, targets) = (
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
    );
    Tensor::from_dispatch(Dispatch::linear_cross_entropy(
        hidden,
        weight,
        maybe(bias),
        targets,
        smoothing,
        products(),
    ))
}

fn check(operation: &str, rows: usize, classes: usize, targets: &Tensor<1, Int>) {
    assert!(
        rows > 0 && classes > 0,
        "{operation}: there must be a row and a class, not [{rows}, {classes}]"
    );
    assert_eq!(
        targets.dims(),
        [rows],
        "{operation}: there must be one target for each of the {rows} rows"
    );
}
