//! Anything that holds numbers, so that what we computed can be compared in the form it has.

/// Numbers with or without a shape.
pub trait Numbers {
    /// The extent of each dimension; `None` for a plain list, of which only the length is compared.
    fn shape(&self) -> Option<Vec<usize>>;

    /// All numbers, the last dimension running fastest.
    fn values(&self) -> Vec<f64>;
}

/// Numbers of a shape, as a file holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The extent of each dimension.
    pub shape: Vec<usize>,
    /// All numbers, the last dimension running fastest.
    pub values: Vec<f64>,
}

impl Numbers for Array {
    fn shape(&self) -> Option<Vec<usize>> {
        Some(self.shape.clone())
    }

    fn values(&self) -> Vec<f64> {
        self.values.clone()
    }
}

impl<Number: Copy + Into<f64>> Numbers for [Number] {
    fn shape(&self) -> Option<Vec<usize>> {
        None
    }

    fn values(&self) -> Vec<f64> {
        self.iter().map(|number| (*number).into()).collect()
    }
}

impl<Number: Copy + Into<f64>> Numbers for Vec<Number> {
    fn shape(&self) -> Option<Vec<usize>> {
        None
    }

    fn values(&self) -> Vec<f64> {
        self.as_slice().values()
    }
}

impl<Number: Copy + Into<f64>, const COUNT: usize> Numbers for [Number; COUNT] {
    fn shape(&self) -> Option<Vec<usize>> {
        None
    }

    fn values(&self) -> Vec<f64> {
        self.as_slice().values()
    }
}
