//! The parameters of a module, by path.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Shape, Tensor, TensorData};
use sha2::{Digest, Sha256};

/// A parameter as the module declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// Field names joined by dots.
    pub path: String,
    /// Identity within the process, the key of gradients.
    pub id: ParamId,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
}

/// All float parameters of `module`, in order of declaration. Nothing is computed or read.
pub fn parameters<M: Module>(module: &M) -> Vec<ParameterInfo> {
    let mut list = Vec::new();
    walk(module, |path, id, shape, _| {
        list.push(ParameterInfo {
            path,
            id,
            shape: shape.to_vec(),
        })
    });
    list
}

/// All float parameters of `module` with their values, in order of declaration.
pub fn collect<M: Module>(module: &M) -> Vec<(String, TensorData)> {
    let mut list = Vec::new();
    walk(module, |path, _, _, read| list.push((path, read())));
    list
}

/// SHA-256 over every parameter's path, shape and bytes, as lower-case hexadecimal: equal if and only if the module is
/// bit for bit the same.
pub fn fingerprint<M: Module>(module: &M) -> String {
    let mut hash = Sha256::new();
    walk(module, |path, _, shape, read| {
        hash.update(path.as_bytes());
        hash.update(format!("{shape:?}"));
        hash.update(read().as_bytes());
    });
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn walk<M: Module>(module: &M, act: impl FnMut(String, ParamId, &Shape, &dyn Fn() -> TensorData)) {
    module.visit(&mut Walk {
        path: Vec::new(),
        act,
    });
}

struct Walk<F> {
    path: Vec<String>,
    act: F,
}

impl<F: FnMut(String, ParamId, &Shape, &dyn Fn() -> TensorData)> ModuleVisitor for Walk<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let read = || parameter.val().into_data();
        (self.act)(self.path.join("."), parameter.id, &parameter.lazy_shape(), &read);
    }
}
