//! Every gradient of a module, by the path of its parameter, and how near each must be to the reference.

use std::collections::BTreeMap;

use blip2_golden::{Check, TensorFile, tolerance};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

struct GradientsByPath<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: BTreeMap<String, Option<Vec<f32>>>,
}

impl ModuleVisitor for GradientsByPath<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad(self.gradients);
        self.found.insert(
            self.path.join("."),
            gradient.map(|g| g.into_data().try_to_vec().expect("f32")),
        );
    }
}

/// The gradient of each parameter by its path; `None` where there is none.
pub(crate) fn gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Option<Vec<f32>>> {
    let mut visitor = GradientsByPath {
        gradients,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

/// Compares the gradient `ours` of LAVIS's parameter `name` with that in `expected`.
///
/// A key's bias shifts all scores of a row alike: its gradient is rounding alone, and is judged by that of the key's weight.
/// What the contrast alone trains gets a small difference of large terms: summed in f64, the reference's gradients move by
/// up to 2e-4 of the largest, and that of the temperature, whose terms are 8,000 times their sum, by 7e-4.
pub(crate) fn check_gradient(check: &mut Check, expected: &TensorFile, name: &str, ours: &[f32]) {
    let what = format!("gradient/{name}");
    let theirs = expected.floats(name);
    if name.ends_with("key.bias") {
        let weight = expected.array(&name.replace("key.bias", "key.weight"));
        return check.absolute(&what, ours, &theirs, tolerance::GRADIENT * weight.largest());
    }
    let factor = match name {
        "temp" => 10.0,
        _ if name.starts_with("text_proj.") || name.starts_with("vision_proj.") => 5.0,
        _ => 1.0,
    };
    check.close(&what, ours, &theirs, factor * tolerance::GRADIENT);
}
