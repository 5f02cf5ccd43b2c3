//! AdamW over a module's parameters by path, with groups and clipping by the global norm.

use std::collections::BTreeMap;

use blip2_core::weights::{TensorStore, WeightError};
use blip2_kernels::{AdamWStep, GradientNorm, Scalar, adamw};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// PyTorch's default; burn's own is larger.
const EPSILON: f64 = 1e-8;

/// Hyper-parameters that hold for a whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Decay rates of the two moments: (0.9, 0.98) in the paper.
    pub betas: [f64; 2],
    /// Decoupled weight decay: 0.05 in the paper.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm over all parameters; absent: no clipping, as the reference.
    pub clip_norm: Option<f64>,
    /// Decay rate of an exponential moving average of the weights (EMA; Polyak and Juditsky, 1992), which takes their place where a
    /// model is measured and at the end; absent: none, as the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
}

/// AdamW's state: two moments for each parameter that ever had a gradient, and its moving average where one is kept.
#[derive(Default)]
pub struct Optimizer {
    /// Flat, by path.
    moments: BTreeMap<String, Moments>,
    steps: u64,
}

struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
    average: Option<Tensor<1>>,
}

/// How one parameter is moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Learning rate.
    pub rate: f64,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// Whether weight decay applies: to tensors of more than one dimension that are no bias. LAVIS's temperature has no
/// dimension at all and is decayed; ours is `[1]` (LAVIS `Blip2Base.get_optimizer_params`).
pub fn is_decayed(path: &str, dimensions: usize) -> bool {
    path == "temperature" || (dimensions != 1 && !path.ends_with("bias"))
}

impl Optimizer {
    /// An optimiser that has not stepped yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Steps taken, those included that changed nothing.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves `module` against `gradients`, each parameter at `rate(path)`, and gives the norm of all gradients before clipping.
    /// Parameters without a gradient stay as they are.
    ///
    /// Where the norm is not finite, the step counts but changes nothing, neither parameters nor moments; on devices other than
    /// the processor that is found out there, without waiting.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &Gradients,
        config: &OptimizerConfig,
        rate: &dyn Fn(&str) -> f64,
    ) -> (M, GradientNorm) {
        let group = |path: &str, dimensions| Group {
            rate: rate(path),
            decays: is_decayed(path, dimensions),
        };
        self.step_in_groups(module, gradients, config, &group)
    }

    /// As [`Optimizer::step`], with each parameter moved as `group(path, dimensions)` says.
    pub fn step_in_groups<M: Module>(
        &mut self,
        module: M,
        gradients: &Gradients,
        config: &OptimizerConfig,
        group: &dyn Fn(&str, usize) -> Group,
    ) -> (M, GradientNorm) {
        let mut visitor = Norm {
            gradients,
            norm: GradientNorm::default(),
        };
        module.visit(&mut visitor);
        let norm = visitor.norm;
        self.steps += 1;
        if let Scalar::Known(known) = norm.value()
            && !known.is_finite()
        {
            return (module, norm);
        }
        let mut update = Update {
            path: Vec::new(),
            gradients,
            optimizer: self,
            config,
            group,
            gradient_scale: norm.clip(config.clip_norm),
        };
        (module.map(&mut update), norm)
    }

    /// `module` with the moving averages of its weights in their place, as far as there are any.
    pub fn averaged<M: Module>(&self, module: M) -> M {
        module.map(&mut Averaged {
            path: Vec::new(),
            moments: &self.moments,
        })
    }

    /// The moments by name, for a checkpoint: `first.PATH` and `second.PATH`, and `average.PATH` where an average is kept.
    pub fn state(&self) -> Vec<(String, TensorData)> {
        let named = |kind: &str, path: &str, tensor: &Tensor<1>| (format!("{kind}.{path}"), tensor.to_data());
        self.moments
            .iter()
            .flat_map(|(path, moments)| {
                [
                    Some(named("first", path, &moments.first)),
                    Some(named("second", path, &moments.second)),
                    moments
                        .average
                        .as_ref()
                        .map(|average| named("average", path, average)),
                ]
            })
            .flatten()
            .collect()
    }

    /// The optimiser that [`Optimizer::state`] described after `steps` steps, with its moments on `device`.
    ///
    /// # Errors
    /// [`WeightError`] where a tensor cannot be read or a moment lacks its other half.
    pub fn from_state(store: &dyn TensorStore, steps: u64, device: &Device) -> Result<Self, WeightError> {
        let read = |name: &str| Ok(Tensor::<1>::from_data(store.read(name)?, device));
        let mut moments = BTreeMap::new();
        for path in store
            .tensors()
            .keys()
            .filter_map(|name| name.strip_prefix("first."))
        {
            let average = format!("average.{path}");
            let has_average = store.tensors().contains_key(&average);
            let of_path = Moments {
                first: read(&format!("first.{path}"))?,
                second: read(&format!("second.{path}"))?,
                average: has_average.then(|| read(&average)).transpose()?,
            };
            moments.insert(path.to_owned(), of_path);
        }
        Ok(Self { moments, steps })
    }
}

struct Norm<'a> {
    gradients: &'a Gradients,
    norm: GradientNorm,
}

impl ModuleVisitor for Norm<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = parameter.val().grad(self.gradients) {
            self.norm.add(&gradient);
        }
    }
}

struct Update<'a> {
    path: Vec<String>,
    gradients: &'a Gradients,
    optimizer: &'a mut Optimizer,
    config: &'a OptimizerConfig,
    group: &'a dyn Fn(&str, usize) -> Group,
    gradient_scale: Scalar,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = parameter.val().grad(self.gradients) else {
            return parameter;
        };
        let path = self.path.join(".");
        let shape = gradient.shape();
        let length = shape.num_elements();
        let gradient = gradient.reshape([length]);
        let moments = self.optimizer.moments.remove(&path).unwrap_or_else(|| {
            let zeros = || Tensor::zeros([length], &gradient.device());
            Moments {
                first: zeros(),
                second: zeros(),
                average: None,
            }
        });
        let Group { rate, decays } = (self.group)(&path, D);
        let step = AdamWStep {
            learning_rate: rate,
            beta1: self.config.betas[0],
            beta2: self.config.betas[1],
            epsilon: EPSILON,
            weight_decay: if decays { self.config.weight_decay } else { 0.0 },
            step: self.optimizer.steps,
            gradient_scale: self.gradient_scale.clone(),
        };
        let (id, value, mapper) = parameter.consume();
        let device = value.device();
        let plain = value.inner().reshape([length]);
        // An average begins with the weights as they were before they were moved at all.
        let average = self
            .config
            .ema
            .map(|decay| (decay, moments.average.unwrap_or_else(|| plain.clone())));
        let (plain, first, second) = adamw(plain, gradient, moments.first, moments.second, &step);
        let average = average.map(|(decay, average)| average * decay + plain.clone() * (1.0 - decay));
        self.optimizer.moments.insert(
            path,
            Moments {
                first,
                second,
                average,
            },
        );
        let value = Tensor::<D>::from_inner(plain.reshape(shape))
            .to_device(&device)
            .require_grad();
        Param::from_mapped_value(id, value, mapper)
    }
}

struct Averaged<'a> {
    path: Vec<String>,
    moments: &'a BTreeMap<String, Moments>,
}

impl ModuleMapper for Averaged<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let moments = self.moments.get(&self.path.join("."));
        let Some(average) = moments.and_then(|moments| moments.average.clone()) else {
            return parameter;
        };
        parameter.map(|value| {
            let average = Tensor::<D>::from_inner(average.reshape(value.shape()));
            average.to_device(&value.device()).require_grad()
        })
    }
}
