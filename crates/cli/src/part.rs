//! One of several parts of a data set, each worked on by a process of its own.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::str::FromStr;

/// The part of a data set, counted from 1, of several parts that are equally long but for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    number: u64,
    count: u64,
}

impl Part {
    pub(crate) const WHOLE: Self = Self { number: 1, count: 1 };

    /// Its indices, of a set of `samples`.
    pub(crate) fn of(self, samples: u64) -> Range<u64> {
        let edge = |number| (u128::from(samples) * u128::from(number) / u128::from(self.count)) as u64;
        edge(self.number - 1)..edge(self.number)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err("not of the form I/N, such as 1/4 to 4/4".to_owned()),
        }
    }
}

impl Display for Part {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_once_and_in_order() {
        for (samples, count) in [(0, 3), (2, 5), (12, 5), (u64::MAX, 7)] {
            let mut next = 0;
            for number in 1..=count {
                let range = Part { number, count }.of(samples);
                assert_eq!(range.start, next);
                next = range.end;
            }
            assert_eq!(next, samples);
        }
    }

    #[test]
    fn a_part_is_one_of_so_many() {
        assert_eq!("2/4".parse(), Ok(Part { number: 2, count: 4 }));
        for wrong in ["0/4", "5/4", "1", "1/0", "-1/2", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
