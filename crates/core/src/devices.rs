//! Where tensors are computed, by name. Burn opens a device at its first operation and panics where the driver is missing, so
//! each device is tried before it is used.

use std::fmt;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::{Device, Tensor};
use thiserror::Error;

/// What computes, whether this program was built for it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// The CPU, by our kernels.
    Flex,
    /// NVIDIA GPUs.
    Cuda,
    /// Any GPU, through Vulkan, Metal or DirectX.
    Wgpu,
    /// The CPU, by LibTorch.
    Libtorch,
}

/// Why a device cannot be used here.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Its feature was left out.
    #[error("it is not built in: `cargo install --path crates/cli --features {0}` builds it in")]
    NotBuilt(&'static str),
    /// Nothing to compute on was found.
    #[error("{0}")]
    NoDriver(&'static str),
    /// It computes something else than it should.
    #[error("it says that a thousand ones are {0}")]
    Wrong(f32),
    /// Its driver or its kernels fail.
    #[error("it fails: {0}")]
    Panicked(String),
}

/// A name that is no engine's.
#[derive(Debug, Error)]
#[error("`{0}` is no device: there are flex, cuda, wgpu and libtorch")]
pub struct UnknownEngine(String);

impl Engine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Cuda, Self::Wgpu, Self::Libtorch];

    /// As it is named on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Libtorch => "libtorch",
        }
    }

    /// A device of this engine that has computed something. Of several the one at `number`, counted around: each of the processes on
    /// a machine takes one.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn open(self, number: usize) -> Result<Device, DeviceError> {
        match self {
            Self::Flex => checked(Device::flex),
            Self::Cuda => cuda(number),
            Self::Wgpu => wgpu(number, |_| true),
            Self::Libtorch => libtorch(),
        }
    }

    /// As [`Engine::open`]; a graphics adapter only where it is a card, for one in software is slower than the CPU.
    fn open_if_fast(self, number: usize) -> Result<Device, DeviceError> {
        match self {
            Self::Wgpu => wgpu(number, is_card),
            other => other.open(number),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == name);
        found.ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

/// What [`fastest`] has chosen, and why not what is faster.
#[derive(Debug)]
pub struct Choice {
    /// What computes.
    pub engine: Engine,
    /// Where.
    pub device: Device,
    /// The faster ones that cannot be used here.
    pub passed_over: Vec<(Engine, DeviceError)>,
}

/// The first GPU that works, or else the CPU; of several GPUs the one at `number`, counted around.
pub fn fastest(number: usize) -> Choice {
    let mut passed_over = Vec::new();
    for engine in [Engine::Cuda, Engine::Wgpu] {
        match engine.open_if_fast(number) {
            Ok(device) => {
                return Choice {
                    engine,
                    device,
                    passed_over,
                };
            }
            Err(why) => passed_over.push((engine, why)),
        }
    }
    Choice {
        engine: Engine::Flex,
        device: Device::flex(),
        passed_over,
    }
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, DeviceError> {
    use burn::tensor::DeviceType;

    keep_kernels();
    let mut found = quietly(|| Device::enumerate(DeviceType::Cuda).into_vec())?;
    if found.is_empty() {
        return Err(DeviceError::NoDriver(
            "no NVIDIA driver with a GPU is found: install the driver; `nvidia-smi` shows whether it works",
        ));
    }
    let chosen = found.swap_remove(number % found.len());
    checked(|| chosen)
}

/// Lets burn keep the kernels that it compiles for a GPU, and its choices among them, for the next process: in the user's cache folder.
/// A file `cubecl.toml` in the current folder or above it may name another one.
#[cfg(feature = "cuda")]
fn keep_kernels() {
    use burn::cubecl::config::cache::CacheConfig;
    use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    if matches!(config.environment.path, CacheConfig::Target) {
        config.environment.path = CacheConfig::Global;
    }
    // What was opened before keeps its settings.
    CubeClRuntimeConfig::try_set(config);
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt("cuda"))
}

/// One of the adapters that are `wanted`.
#[cfg(feature = "wgpu")]
fn wgpu(number: usize, wanted: impl Fn(&Device) -> bool) -> Result<Device, DeviceError> {
    use burn::tensor::DeviceType;

    let mut found = quietly(|| Device::enumerate(DeviceType::Wgpu).into_vec())?;
    found.retain(wanted);
    if found.is_empty() {
        return Err(DeviceError::NoDriver(
            "no fitting graphics adapter is found: install the driver of the GPU (of Vulkan, on Linux)",
        ));
    }
    let chosen = found.swap_remove(number % found.len());
    checked(|| chosen)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: usize, _: impl Fn(&Device) -> bool) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt("wgpu"))
}

/// Whether this adapter is a card: a renderer in software has none.
#[cfg(feature = "wgpu")]
fn is_card(adapter: &Device) -> bool {
    adapter
        .identity()
        .is_some_and(|identity| identity.physical.is_some())
}

#[cfg(not(feature = "wgpu"))]
fn is_card(_: &Device) -> bool {
    false
}

#[cfg(feature = "tch")]
#[expect(deprecated, reason = "kept to compare with, as long as burn has it")]
fn libtorch() -> Result<Device, DeviceError> {
    checked(Device::libtorch)
}

#[cfg(not(feature = "tch"))]
fn libtorch() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt("tch"))
}

/// The device, once it has computed something: powers of e, for which the compiler of kernels for NVIDIA's GPUs needs a file of the
/// CUDA toolkit. They are rounded, since a GPU may give them a last digit off.
fn checked(open: impl FnOnce() -> Device) -> Result<Device, DeviceError> {
    let (device, sum) = quietly(|| {
        let device = open();
        let sum: f32 = Tensor::<1>::zeros([1000], &device)
            .exp()
            .round()
            .sum()
            .into_scalar();
        (device, sum)
    })?;
    if sum == 1000.0 {
        Ok(device)
    } else {
        Err(DeviceError::Wrong(sum))
    }
}

/// What `attempt` gives, or what it panicked with.
fn quietly<Outcome>(attempt: impl FnOnce() -> Outcome) -> Result<Outcome, DeviceError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let outcome = catch_unwind(AssertUnwindSafe(attempt));
    panic::set_hook(hook);
    outcome.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        DeviceError::Panicked(words.unwrap_or("without a word").to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_panics_is_unusable() {
        let error = quietly::<()>(|| panic!("no {}", "libcuda")).unwrap_err();
        assert_eq!(error.to_string(), "it fails: no libcuda");
    }

    #[test]
    fn the_cpu_can_be_used_everywhere() {
        assert_eq!(Engine::Flex.open(3).unwrap(), Device::flex());
    }

    #[test]
    fn engines_are_known_by_their_names() {
        for engine in Engine::ALL {
            assert_eq!(engine.name().parse::<Engine>().unwrap(), engine);
        }
        assert!("tpu".parse::<Engine>().unwrap_err().to_string().contains("wgpu"));
    }
}
