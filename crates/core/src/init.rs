//! Random initial weights, decided by a seed alone.

use blip2_kernels::Packing;
use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::LoadPlan;

/// Draws initial parameters. Each parameter owns a seed drawn in order of construction, and its values are made only
/// when it is first read: what a checkpoint overwrites is never computed.
pub struct Initializer {
    seeds: ChaCha8Rng,
    plan: LoadPlan,
}

impl Initializer {
    /// An initializer whose parameters live on the device of `plan`; on an autodiff device they are trainable. Layers made of
    /// them are packed as the plan says.
    pub fn new(seed: u64, plan: impl Into<LoadPlan>) -> Self {
        Self {
            seeds: ChaCha8Rng::seed_from_u64(seed),
            plan: plan.into(),
        }
    }

    /// Where the parameters will live.
    pub fn device(&self) -> &Device {
        &self.plan.device
    }

    /// How linear layers are packed once they have values.
    pub(crate) fn packing(&self) -> Option<Packing> {
        self.plan.packing
    }

    /// Normal values with mean 0 and the given standard deviation.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Param<Tensor<D>> {
        self.random(shape, move |generator| standard_normal(generator) * deviation)
    }

    /// Values spread evenly over `-bound..bound`. PyTorch's default for a linear layer has `bound = 1/sqrt(inputs)`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f32) -> Param<Tensor<D>> {
        self.random(shape, move |generator| {
            (generator.random::<f32>() * 2.0 - 1.0) * bound
        })
    }

    /// The same value everywhere.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.lazy(shape, move |count| vec![value; count])
    }

    fn random<const D: usize>(
        &mut self,
        shape: [usize; D],
        draw: impl Fn(&mut ChaCha8Rng) -> f32 + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let seed = self.seeds.next_u64();
        self.lazy(shape, move |count| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            (0..count).map(|_| draw(&mut generator)).collect()
        })
    }

    fn lazy<const D: usize>(
        &mut self,
        shape: [usize; D],
        values: impl FnOnce(usize) -> Vec<f32> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        Param::uninitialized(
            ParamId::new(),
            move |device, trainable| {
                let data = TensorData::new(values(shape.iter().product()), shape);
                let tensor = Tensor::from_data(data, device);
                if trainable { tensor.require_grad() } else { tensor }
            },
            self.plan.device.clone(),
            true,
            Shape::from(shape),
        )
    }
}

/// Box-Muller, one value of each pair: slower than keeping both, and free of state.
fn standard_normal(generator: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
    let angle = std::f64::consts::TAU * generator.random::<f64>();
    (radius * angle.cos()) as f32
}
