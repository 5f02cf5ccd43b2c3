//! A loss as the weighted sum of named terms, which stay on the device until somebody reads them.

use burn::tensor::Tensor;

/// One number of a step.
#[derive(Clone, Debug)]
pub struct Term {
    /// As it stands in logs: `itc`.
    pub name: &'static str,
    /// Its share of the loss; 0: it is only watched.
    pub weight: f64,
    /// `[1]`.
    pub value: Tensor<1>,
}

/// What a step minimises, and what of it is watched.
#[derive(Clone, Debug, Default)]
pub struct Terms(Vec<Term>);

impl Terms {
    /// Appends a term of the loss.
    pub fn add(&mut self, name: &'static str, weight: f64, value: Tensor<1>) {
        self.0.push(Term { name, weight, value });
    }

    /// Appends a number `[1]` that is watched and not minimised.
    pub fn watch(&mut self, name: &'static str, value: Tensor<1>) {
        self.add(name, 0.0, value.detach());
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Term> {
        self.0.iter()
    }

    /// The value `[1]` of the term called `name`, without its weight.
    pub fn get(&self, name: &str) -> Option<Tensor<1>> {
        let named = self.0.iter().find(|term| term.name == name);
        named.map(|term| term.value.clone())
    }

    /// The weighted sum `[1]`, or nothing where no term has a weight.
    pub fn total(&self) -> Option<Tensor<1>> {
        let weighted = self.0.iter().filter(|term| term.weight != 0.0);
        weighted
            .map(|term| term.value.clone() * term.weight)
            .reduce(|sum, value| sum + value)
    }

    /// The same values without graph.
    pub(crate) fn detached(self) -> Self {
        let plain = |term: Term| Term {
            value: term.value.inner(),
            ..term
        };
        Self(self.0.into_iter().map(plain).collect())
    }

    /// The mean of the same terms of several parts, added up in their order; nothing where there is no part. Those of a single part
    /// are as they were.
    pub fn mean(parts: Vec<Self>) -> Option<Self> {
        let count = parts.len();
        let sum = parts.into_iter().reduce(Self::plus)?;
        Some(match count {
            1 => sum,
            _ => sum.scaled(1.0 / count as f64),
        })
    }

    /// The sum of both, term by term; `other` has the same terms.
    fn plus(self, other: Self) -> Self {
        let pairs = self.0.into_iter().zip(other.0);
        let sum = |(own, other): (Term, Term)| Term {
            value: own.value + other.value,
            ..own
        };
        Self(pairs.map(sum).collect())
    }

    /// All values times `factor`.
    fn scaled(self, factor: f64) -> Self {
        let scaled = |term: Term| Term {
            value: term.value * factor,
            ..term
        };
        Self(self.0.into_iter().map(scaled).collect())
    }
}
