//! A sum over the parts of a batch whose order does not depend on who holds which part.

use std::ops::Range;

/// The sum over neighbouring parts, by a binary tree that the numbers of the parts alone decide: parts 2i and 2i + 1 first, then
/// pairs of such pairs. Floating-point sums depend on their order; this one is the same on one rank that has all parts and on
/// several that have some each.
///
/// Holds at most two values for each doubling of the number of parts.
#[derive(Debug)]
pub struct OrderedSum<T>(Vec<(Range<usize>, T)>);

impl<T> Default for OrderedSum<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> OrderedSum<T> {
    /// Adds the sum over `parts`, which begin where the ones before end: a single part, or a node of another such sum.
    pub fn push(&mut self, parts: Range<usize>, value: T, add: &mut dyn FnMut(T, T) -> T) {
        let (mut parts, mut value) = (parts, value);
        while let Some((left, sum)) = self.0.pop_if(|(left, _)| are_siblings(left, &parts)) {
            parts = left.start..parts.end;
            value = add(sum, value);
        }
        self.0.push((parts, value));
    }

    /// Sums over neighbouring parts, as far as the tree has joined them.
    pub fn into_nodes(self) -> Vec<(Range<usize>, T)> {
        self.0
    }

    /// The sum over everything, once all parts are there; nothing where none is.
    pub fn total(self, add: &mut dyn FnMut(T, T) -> T) -> Option<T> {
        self.0.into_iter().map(|(_, value)| value).reduce(add)
    }
}

/// Whether two neighbours are the halves of a node of the tree.
fn are_siblings(left: &Range<usize>, right: &Range<usize>) -> bool {
    let length = left.len();
    length == right.len() && left.end == right.start && left.start.is_multiple_of(2 * length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of `parts` parts on `ranks` ranks, written as a tree.
    fn tree(parts: usize, ranks: usize) -> String {
        let mut add = |left: String, right: String| format!("({left}+{right})");
        let mut all = OrderedSum::default();
        for rank in 0..ranks {
            let mut own = OrderedSum::default();
            for part in rank * parts / ranks..(rank + 1) * parts / ranks {
                own.push(part..part + 1, part.to_string(), &mut add);
            }
            for (parts, value) in own.into_nodes() {
                all.push(parts, value, &mut add);
            }
        }
        all.total(&mut add).expect("a sum")
    }

    #[test]
    fn who_holds_which_part_does_not_change_the_order() {
        assert_eq!(tree(8, 1), "(((0+1)+(2+3))+((4+5)+(6+7)))");
        assert_eq!(tree(7, 1), "((((0+1)+(2+3))+(4+5))+6)");
        for parts in 1..40 {
            for ranks in 1..=parts {
                assert_eq!(tree(parts, ranks), tree(parts, 1), "{parts} parts, {ranks} ranks");
            }
        }
    }

    #[test]
    fn few_values_are_held_at_once() {
        let mut sum = OrderedSum::default();
        for part in 0..1000_usize {
            sum.push(part..part + 1, 1, &mut |left, right| left + right);
            assert!(sum.0.len() <= 10);
        }
        assert_eq!(sum.total(&mut |left, right| left + right), Some(1000));
    }
}
