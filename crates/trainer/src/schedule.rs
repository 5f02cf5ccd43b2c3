//! The learning rate over a run: linear warm-up, then a cosine down to a minimum (paper section 3.4).

use serde::{Deserialize, Serialize};

/// A per-step schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Reached at the end of the warm-up.
    pub peak: f64,
    /// Reached at the last step.
    pub minimum: f64,
    /// Steps of linear growth from zero.
    pub warmup_steps: u64,
}

impl Schedule {
    /// The rate of `step` (from 1) of `steps`.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        if step <= self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps as f64;
        }
        let length = steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        self.minimum + (self.peak - self.minimum) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn warms_up_peaks_and_ends_at_the_minimum() {
        let schedule = Schedule {
            peak: 1e-4,
            minimum: 1e-5,
            warmup_steps: 10,
        };
        assert!((schedule.rate(1, 100) - 1e-5).abs() < 1e-12);
        assert!((schedule.rate(10, 100) - 1e-4).abs() < 1e-12);
        assert!((schedule.rate(55, 100) - 5.5e-5).abs() < 1e-12);
        assert!((schedule.rate(100, 100) - 1e-5).abs() < 1e-12);
        assert!(
            (schedule.rate(500, 100) - 1e-5).abs() < 1e-12,
            "a step past the end stays at the minimum"
        );
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        let schedule = Schedule {
            peak: 1.0,
            minimum: 0.0,
            warmup_steps: 0,
        };
        assert!(schedule.rate(1, 1000) > 0.999);
    }
}
