//! Every gradient of a module, by the path of its parameter.

use std::collections::BTreeMap;

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
