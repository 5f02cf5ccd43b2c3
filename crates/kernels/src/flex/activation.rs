//! Activation functions (GELU, SiLU, quick GELU) and their derivatives.

use burn_flex::FlexTensor;

use super::change::Change;
use super::math::{FAR, normal_tail, sigmoid};
use super::rows::{softmax_all, softmax_rows_backward};
use super::simd::{multiply_add, vectorised};
use super::storage::{change_rows, dense, values, width};

/// Activations of one argument.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    Gelu,
    GeluTanh,
    QuickGelu,
}

/// The activation of all of `x`.
pub(crate) fn activate(x: FlexTensor, activation: Activation) -> FlexTensor {
    let kernel: fn(Change<'_>) -> &mut [f32] = match activation {
        Activation::Gelu => gelu,
        Activation::GeluTanh => gelu_tanh,
        Activation::QuickGelu => quick_gelu,
    };
    change_rows(x, 1, |x, _| kernel(x))
}

/// The gradient of `x`, from that of the activation of `x`.
pub(crate) fn activate_backward(x: FlexTensor, gradient: FlexTensor, activation: Activation) -> FlexTensor {
    let kernel: for<'a> fn(Change<'a>, &[f32]) -> &'a mut [f32] = match activation {
        Activation::Gelu => gelu_backward,
        Activation::GeluTanh => gelu_tanh_backward,
        Activation::QuickGelu => quick_gelu_backward,
    };
    let x = dense(x);
    let x = values(&x);
    change_rows(gradient, 1, |gradient, start| kernel(gradient, &x[start..]))
}

/// `silu(gate) * up`.
pub(crate) fn silu_gate(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
    let up = dense(up);
    let up = values(&up);
    change_rows(gate, 1, |gate, start| silu_multiply(gate, &up[start..]))
}

/// The gradient of `gate` in [`silu_gate`].
pub(crate) fn silu_gate_backward_gate(
    gate: &FlexTensor,
    up: &FlexTensor,
    gradient: FlexTensor,
) -> FlexTensor {
    let (gate, up) = (values(gate), values(up));
    change_rows(gradient, 1, |gradient, start| {
        silu_gate_gradient(gradient, &gate[start..], &up[start..])
    })
}

/// The gradient of `up` in [`silu_gate`].
pub(crate) fn silu_gate_backward_up(gate: &FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let gate = values(gate);
    change_rows(gradient, 1, |gradient, start| {
        silu_multiply_other(gradient, &gate[start..])
    })
}

/// Softmax over the last dimension.
pub(crate) fn softmax(x: FlexTensor) -> FlexTensor {
    let width = width(&x);
    change_rows(x, width, |rows, _| softmax_all(rows, width))
}

/// The gradient of `x`, from `y = softmax(x)` and its gradient.
pub(crate) fn softmax_backward(y: &FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let width = width(y);
    let y = values(y);
    change_rows(gradient, width, |rows, start| {
        softmax_rows_backward(rows, &y[start..], width, 1.0)
    })
}

/// `|x|` up to where GELU has become `x` or 0, and `x` or 0, whichever is larger.
#[inline(always)]
fn magnitude(x: f32) -> (f32, f32) {
    let a = x.abs();
    // NaN stays NaN in the first.
    (if FAR < a { FAR } else { a }, if x > 0.0 { x } else { 0.0 })
}

/// Argument of the sigmoid in the hyperbolic form of GELU, and its derivative. Beyond 20 nothing changes any more,
/// and cubes would overflow.
#[inline(always)]
fn gelu_tanh_argument<const FUSED: bool>(x: f32) -> (f32, f32) {
    const LINEAR: f32 = 1.595_769; // 2 sqrt(2 / π)
    const CUBIC: f32 = LINEAR * 0.044_715;
    let x = x.clamp(-20.0, 20.0);
    let square = x * x;
    (
        x * multiply_add::<FUSED>(CUBIC, square, LINEAR),
        multiply_add::<FUSED>(3.0 * CUBIC, square, LINEAR),
    )
}

/// Derivative of `x * sigmoid(argument(x))`; `x` is held within a range that the sigmoid has long saturated in.
#[inline(always)]
fn sigmoid_unit_derivative<const FUSED: bool>(x: f32, argument: f32, slope: f32) -> f32 {
    let s = sigmoid::<FUSED>(argument);
    multiply_add::<FUSED>(x.clamp(-100.0, 100.0) * slope, s * (1.0 - s), s)
}

vectorised! {
    fn gelu<'a>(x: Change<'a>) -> &'a mut [f32] {
        x.all([], |x, []| {
            let (a, positive) = magnitude(x);
            multiply_add::<FUSED>(-a, normal_tail::<FUSED>(a).0, positive)
        })
    }

    fn gelu_backward<'a>(gradient: Change<'a>, x: &[f32]) -> &'a mut [f32] {
        gradient.all([x], |gradient, [x]| {
            let (a, _) = magnitude(x);
            let (tail, density) = normal_tail::<FUSED>(a);
            let slope = multiply_add::<FUSED>(-a, density, tail);
            gradient * if x > 0.0 { 1.0 - slope } else { slope }
        })
    }

    fn gelu_tanh<'a>(x: Change<'a>) -> &'a mut [f32] {
        x.all([], |x, []| x * sigmoid::<FUSED>(gelu_tanh_argument::<FUSED>(x).0))
    }

    fn gelu_tanh_backward<'a>(gradient: Change<'a>, x: &[f32]) -> &'a mut [f32] {
        gradient.all([x], |gradient, [x]| {
            let (argument, slope) = gelu_tanh_argument::<FUSED>(x);
            gradient * sigmoid_unit_derivative::<FUSED>(x, argument, slope)
        })
    }

    fn quick_gelu<'a>(x: Change<'a>) -> &'a mut [f32] {
        x.all([], |x, []| x * sigmoid::<FUSED>(1.702 * x))
    }

    fn quick_gelu_backward<'a>(gradient: Change<'a>, x: &[f32]) -> &'a mut [f32] {
        gradient.all([x], |gradient, [x]| {
            gradient * sigmoid_unit_derivative::<FUSED>(x, 1.702 * x, 1.702)
        })
    }

    fn silu_multiply<'a>(gate: Change<'a>, up: &[f32]) -> &'a mut [f32] {
        gate.all([up], |gate, [up]| gate * sigmoid::<FUSED>(gate) * up)
    }

    fn silu_multiply_other<'a>(gradient: Change<'a>, gate: &[f32]) -> &'a mut [f32] {
        gradient.all([gate], |gradient, [gate]| gradient * gate * sigmoid::<FUSED>(gate))
    }

    fn silu_gate_gradient<'a>(gradient: Change<'a>, gate: &[f32], up: &[f32]) -> &'a mut [f32] {
        gradient.all([gate, up], |gradient, [gate, up]| {
            gradient * up * sigmoid_unit_derivative::<FUSED>(gate, gate, 1.0)
        })
    }
}
