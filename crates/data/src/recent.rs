//! What was computed last and is asked for again soon: a handful of values, whatever their number over a run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Neighbouring positions of a run ask for two at a time; loaders read a little ahead.
const MOST: usize = 4;

/// The last values, by their number.
pub(crate) struct Recent<Value>(Mutex<VecDeque<(u64, Arc<Value>)>>);

impl<Value> Recent<Value> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// The value of `number`, computed by `make` where it is not at hand; who asks meanwhile waits.
    pub(crate) fn get(&self, number: u64, make: impl FnOnce() -> Value) -> Arc<Value> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = values.iter().find(|(of, _)| *of == number) {
            return value.clone();
        }
        let value = Arc::new(make());
        values.push_back((number, value.clone()));
        if values.len() > MOST {
            values.pop_front();
        }
        value
    }
}
