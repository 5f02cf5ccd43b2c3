//! Where numbers stand in a plot, and where its ticks do.

/// A straight map from numbers to places in a drawing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    /// Least and greatest number.
    pub(crate) domain: [f64; 2],
    /// Where they stand.
    pub(crate) range: [f64; 2],
}

impl Axis {
    /// The axis from the least to the greatest of `numbers` (0 to 1 of none), a single number in its middle.
    pub(crate) fn around(numbers: impl Iterator<Item = f64>, range: [f64; 2]) -> Self {
        let [low, high] = numbers.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], number| {
            [low.min(number), high.max(number)]
        });
        let domain = match high - low {
            spread if spread > 0.0 => [low, high],
            0.0 => [low - 0.5, high + 0.5],
            _ => [0.0, 1.0],
        };
        Self { domain, range }
    }

    /// The same axis with some air at both ends, from zero on where that is near.
    pub(crate) fn with_air(mut self) -> Self {
        let [low, high] = self.domain;
        let air = 0.06 * (high - low);
        let starts_at_zero = low >= 0.0 && low < 0.4 * high;
        self.domain = [if starts_at_zero { 0.0 } else { low - air }, high + air];
        self
    }

    /// Place of `number`; outside of the range where the number is outside of the domain.
    pub(crate) fn at(&self, number: f64) -> f64 {
        let [low, high] = self.domain;
        let [from, to] = self.range;
        from + (number - low) / (high - low) * (to - from)
    }

    /// Whether `number` lies on the axis.
    pub(crate) fn holds(&self, number: f64) -> bool {
        (self.domain[0]..=self.domain[1]).contains(&number)
    }

    /// Round numbers on the axis, at most about `count`, `apart` from each other at least, each with its label.
    pub(crate) fn ticks(&self, count: usize, apart: f64) -> Vec<(f64, String)> {
        let [low, high] = self.domain;
        let rough = ((high - low) / count as f64).max(apart);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|digit| digit * power)
            .into_iter()
            .find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last)
            .map(|place| place as f64 * step)
            .map(|number| match number.abs() >= 10_000.0 {
                true => (number, format!("{}k", number / 1000.0)),
                false => (number, format!("{number:.decimals$}")),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(domain: [f64; 2], count: usize, apart: f64) -> Vec<String> {
        let ticks = Axis {
            domain,
            range: [0.0, 1.0],
        }
        .ticks(count, apart);
        ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(labels([0.0, 10.6], 4, 0.0), ["0", "5", "10"]);
        assert_eq!(labels([0.48, 0.73], 4, 0.0), ["0.5", "0.6", "0.7"]);
        assert_eq!(labels([-1.0, 1.0], 4, 0.0), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels([0.0, 41_000.0], 4, 1.0), ["0", "20k", "40k"]);
        assert_eq!(labels([1.0, 3.0], 5, 1.0), ["1", "2", "3"]);
    }

    #[test]
    fn a_single_number_stands_in_the_middle() {
        let axis = Axis::around([3.0].into_iter(), [0.0, 100.0]);
        assert_eq!(axis.at(3.0), 50.0);
        assert_eq!(Axis::around([].into_iter(), [0.0, 8.0]).at(1.0), 8.0);
    }

    #[test]
    fn places_may_run_backwards() {
        let axis = Axis {
            domain: [0.0, 4.0],
            range: [200.0, 0.0],
        };
        assert_eq!([axis.at(0.0), axis.at(1.0), axis.at(4.0)], [200.0, 150.0, 0.0]);
    }
}
