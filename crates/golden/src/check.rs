//! Comparing what we compute with what the reference computed.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::{Comparison, Line, Measure};
use crate::{Array, Numbers};

/// How near is near enough, in one place.
pub mod tolerance {
    /// Features and logits in f32, of the largest magnitude.
    pub const FEATURES: f64 = 2e-4;
    /// A loss, relative.
    pub const LOSS: f64 = 1e-5;
    /// A gradient, of the largest magnitude of its tensor.
    pub const GRADIENT: f64 = 1e-4;
    /// The most that a floor may ask for, of the largest magnitude: what is further off is wrong, not rounded.
    pub const FLOOR: f64 = 1e-2;
    /// Losses and weights after several steps of the optimiser, relative or of the largest magnitude.
    pub const TRAJECTORY: f64 = 1e-3;
    /// The probability of matching and the cosine of an image and a text, absolute.
    pub const MATCH: f64 = 1e-5;
    /// Scores of captions, absolute.
    pub const SCORE: f64 = 1e-6;
}

/// Proves every one of `cases`, also after one that fails or panics, and tells at the end what was wrong with any of them: one
/// failure leaves nothing else unread.
///
/// # Panics
/// Where anything was wrong with a case.
pub fn each<Case>(cases: impl IntoIterator<Item = Case>, mut prove: impl FnMut(Case)) {
    let failures: Vec<String> = cases
        .into_iter()
        .filter_map(|case| catch_unwind(AssertUnwindSafe(|| prove(case))).err())
        .map(|panic| message(&*panic))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message.clone(),
        (None, Some(message)) => (*message).to_owned(),
        (None, None) => "a panic without a message".to_owned(),
    }
}

/// The comparisons of one test with one folder or file of reference data. Each is logged; those that failed are listed
/// together when the check is dropped, so that one run shows all that is wrong.
#[must_use = "a check that compares nothing fails"]
pub struct Check {
    subject: String,
    compared: usize,
    failures: Vec<String>,
}

impl Check {
    /// A check of `subject`: a folder or file, relative to the golden folder.
    pub fn new(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            compared: 0,
            failures: Vec::new(),
        }
    }

    /// Every number must lie within `tolerance` times the largest expected magnitude. Of a single number, such as a loss,
    /// that is the relative difference.
    ///
    /// `what` is a quantity, and behind a slash which of its kind: `vision/0`, `gradient/query_tokens`.
    pub fn close(
        &mut self,
        what: &str,
        actual: &(impl Numbers + ?Sized),
        expected: &(impl Numbers + ?Sized),
        tolerance: f64,
    ) {
        self.close_above(what, actual, expected, tolerance, 0.0);
    }

    /// As [`Check::close`], but what is within `floor` passes whatever the tolerance: what no computation in single precision
    /// could be asked for.
    pub fn close_above(
        &mut self,
        what: &str,
        actual: &(impl Numbers + ?Sized),
        expected: &(impl Numbers + ?Sized),
        tolerance: f64,
        floor: f64,
    ) {
        let difference = difference(actual, expected);
        let largest = largest(&expected.values());
        let (allowed, floor) = (
            tolerance * largest,
            floor.max(0.0).min(tolerance::FLOOR * largest),
        );
        if allowed < floor {
            self.record(what, difference, floor, Measure::Absolute);
        } else {
            self.record(what, difference, allowed, Measure::Largest { tolerance });
        }
    }

    /// Every number must lie within `tolerance`.
    pub fn absolute(
        &mut self,
        what: &str,
        actual: &(impl Numbers + ?Sized),
        expected: &(impl Numbers + ?Sized),
        tolerance: f64,
    ) {
        let difference = difference(actual, expected);
        self.record(what, difference, tolerance, Measure::Absolute);
    }

    /// Both lists must be equal. Logged as the number of places in which they are not.
    pub fn identical<Item: PartialEq + Debug>(&mut self, what: &str, actual: &[Item], expected: &[Item]) {
        let pairs = actual.iter().zip(expected);
        let different = pairs.filter(|(actual, expected)| actual != expected).count()
            + actual.len().abs_diff(expected.len());
        self.record(what, different as f64, 0.0, Measure::Identical);
        if different > 0 {
            self.failures
                .push(format!("  {actual:?} instead of {expected:?}"));
        }
    }

    fn record(&mut self, what: &str, difference: f64, allowed: f64, measure: Measure) {
        self.compared += 1;
        let comparison = Comparison::new(&self.subject, what, difference, allowed, measure);
        if !comparison.passed() {
            self.failures.push(comparison.to_string());
        }
        Line::Compared(comparison).append();
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What made the test panic stands in its message; here it is said which data it was about.
            return Line::Compared(Comparison::failed(&self.subject, "panicked")).append();
        }
        assert!(self.compared > 0, "{}: nothing was compared", self.subject);
        assert!(
            self.failures.is_empty(),
            "{} of {} comparisons failed:\n{}",
            self.failures.len(),
            self.compared,
            self.failures.join("\n")
        );
    }
}

/// The largest difference; infinite where shapes or lengths are not equal, not a number where one of the values is none.
fn difference(actual: &(impl Numbers + ?Sized), expected: &(impl Numbers + ?Sized)) -> f64 {
    if let (Some(actual), Some(expected)) = (actual.shape(), expected.shape())
        && trimmed(&actual) != trimmed(&expected)
    {
        return f64::INFINITY;
    }
    let (actual, expected) = (actual.values(), expected.values());
    if actual.len() != expected.len() || expected.is_empty() {
        return f64::INFINITY;
    }
    let apart: Vec<f64> = actual
        .iter()
        .zip(&expected)
        .map(|(actual, expected)| actual - expected)
        .collect();
    largest(&apart)
}

/// A scalar is `[]` in a file and `[1]` as a tensor.
fn trimmed(shape: &[usize]) -> &[usize] {
    if shape == [1] { &[] } else { shape }
}

/// The largest magnitude; not a number as soon as one value is none.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| {
        if value.is_nan() || largest.is_nan() {
            f64::NAN
        } else {
            largest.max(value.abs())
        }
    })
}

impl Array {
    /// The largest magnitude.
    pub fn largest(&self) -> f64 {
        largest(&self.values)
    }
}
