//! Where tensors are computed: `--device`.

use anyhow::{Context, Result};
use blip2_core::devices::{Choice, DeviceError, Engine, fastest};
use burn::tensor::Device;
use clap::ValueEnum;

/// What the choice of a device or number format is said as, however quiet the program is.
pub(crate) const CHOICE: &str = "choice";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// The fastest that this program was built for and that works here
    Auto,
    /// The CPU
    Flex,
    /// An NVIDIA GPU
    Cuda,
    /// Any GPU, through Vulkan, Metal or DirectX
    Wgpu,
    /// The CPU, by LibTorch
    Libtorch,
}

impl DeviceChoice {
    /// # Errors
    /// This program was built without the device, its driver is missing, or it does not compute.
    pub(crate) fn open(self) -> Result<Device> {
        self.open_one_of_several(0)
    }

    /// The same for one of several processes on this machine: of several GPUs, each takes one.
    ///
    /// # Errors
    /// As for [`DeviceChoice::open`].
    pub(crate) fn open_one_of_several(self, number: usize) -> Result<Device> {
        let engine = match self {
            Self::Auto => return Ok(automatic(number)),
            Self::Flex => Engine::Flex,
            Self::Cuda => Engine::Cuda,
            Self::Wgpu => Engine::Wgpu,
            Self::Libtorch => Engine::Libtorch,
        };
        let device = engine.open(number).with_context(|| {
            format!("`--device {engine}` cannot be used; `--device flex` computes on the CPU everywhere")
        })?;
        tracing::info!("device {engine}, as asked");
        Ok(device)
    }
}

/// The fastest device, and a word about it: always where there was a choice, else to those who want to hear more.
fn automatic(number: usize) -> Device {
    let Choice {
        engine,
        device,
        passed_over,
    } = fastest(number);
    let why = passed_over.iter().map(|(engine, why)| match why {
        DeviceError::NotBuilt(_) => format!("; {engine} is not built in"),
        why => format!("; not {engine}: {why}"),
    });
    let why: String = why.collect();
    if cfg!(any(feature = "cuda", feature = "wgpu")) {
        tracing::info!(target: CHOICE, "device {engine}, chosen automatically{why}");
    } else {
        tracing::info!("device {engine}, chosen automatically{why}");
    }
    device
}
