//! Every gradient of a module, by the path of its parameter, and how near each must be to the reference.

use std::collections::BTreeMap;

use blip2_core::Initializer;
use blip2_core::weights::{ParameterInfo, parameters};
use blip2_golden::{Check, TensorFile, device, tolerance};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

/// The gradient of each parameter by its path; `None` where there is none.
pub(crate) type ByPath = BTreeMap<String, Option<Vec<f32>>>;

/// How often weights are moved to see what single precision resolves.
const MOVES: u64 = 3;
/// How many of such moves two ways of computing the same may be apart.
const APART: f64 = 8.0;

struct GradientsByPath<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: ByPath,
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

/// The gradients of all parameters.
pub(crate) fn gradients<M: Module>(module: &M, gradients: &Gradients) -> ByPath {
    let mut visitor = GradientsByPath {
        gradients,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

/// The very same gradients.
pub(crate) fn assert_equal_bits(ours: &ByPath, theirs: &ByPath) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(ours.len(), theirs.len());
    for (path, values) in ours {
        let (ours, theirs) = (values.as_deref().map(bits), theirs[path].as_deref().map(bits));
        assert_eq!(ours, theirs, "{path}");
    }
}

/// What sums of terms up to the inverse of the temperature that cancel are apart in single precision.
const ROUNDING: f32 = 1e-6;

/// Every gradient within 1e-5 of the largest of its tensor.
pub(crate) fn assert_near(ours: &ByPath, theirs: &ByPath) {
    let largest = |values: &[f32]| values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    let mut compared = 0;
    for (path, theirs) in theirs {
        let (Some(ours), Some(theirs)) = (&ours[path], theirs) else {
            assert!(ours[path].is_none() && theirs.is_none(), "{path}");
            continue;
        };
        // That of a key's bias is rounding alone.
        if path.ends_with("key.bias") {
            continue;
        }
        let apart: Vec<f32> = ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| ours - theirs)
            .collect();
        let (apart, allowed) = (largest(&apart), (1e-5 * largest(theirs)).max(ROUNDING));
        assert!(apart <= allowed, "{path}: {apart:e} apart, {allowed:e} allowed");
        compared += 1;
    }
    assert!(compared > 40, "{compared} gradients were compared");
}

/// Moves every weight by about its last bit.
struct LastBit(Initializer);

impl ModuleMapper for LastBit {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let noise = self.0.normal(parameter.lazy_shape().dims::<D>(), f32::EPSILON);
        parameter.map(|value| {
            let moved = value.clone() + value * noise.val();
            moved.detach().require_grad()
        })
    }
}

/// One gradient of a step of ours.
pub(crate) struct Gradient {
    /// The parameter, as LAVIS calls it.
    pub(crate) name: String,
    /// Zeros where the parameter has none.
    pub(crate) values: Vec<f32>,
    /// The largest change when every weight is moved by about its last bit: single precision resolves no more.
    pub(crate) resolved: f64,
}

/// Every gradient of `module` as `of` computes them, by the `name` of its path.
pub(crate) fn resolved<M: Module>(
    module: &M,
    of: impl Fn(&M) -> ByPath,
    name: impl Fn(&str) -> String,
) -> Vec<Gradient> {
    let moved: Vec<ByPath> = (0..MOVES)
        .map(|seed| {
            let mut last_bit = LastBit(Initializer::new(seed, &device().autodiff()));
            of(&module.clone().map(&mut last_bit))
        })
        .collect();
    let still = of(module);
    let gradient = |parameter: &ParameterInfo| {
        let untouched = || vec![0.0; parameter.shape.iter().product()];
        let values = still[&parameter.path].clone().unwrap_or_else(untouched);
        let change = |moved: &ByPath| {
            let pairs = values.iter().zip(moved[&parameter.path].iter().flatten());
            let changes = pairs.map(|(still, moved)| f64::from((still - moved).abs()));
            changes.fold(0.0, f64::max)
        };
        Gradient {
            name: name(&parameter.path),
            resolved: moved.iter().map(change).fold(0.0, f64::max),
            values,
        }
    };
    parameters(module).iter().map(gradient).collect()
}

impl Gradient {
    /// Compares it with LAVIS's in `expected`.
    ///
    /// A key's bias shifts all scores of a row alike: its gradient is rounding alone, and is judged by that of the key's
    /// weight.
    pub(crate) fn check(&self, check: &mut Check, expected: &TensorFile) {
        let what = format!("gradient/{}", self.name);
        let theirs = expected.floats(&self.name);
        if self.name.ends_with("key.bias") {
            let weight = expected.array(&self.name.replace("key.bias", "key.weight"));
            return check.absolute(
                &what,
                &self.values,
                &theirs,
                tolerance::GRADIENT * weight.largest(),
            );
        }
        check.close_above(
            &what,
            &self.values,
            &theirs,
            tolerance::GRADIENT,
            APART * self.resolved,
        );
    }
}
