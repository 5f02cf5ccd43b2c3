//! Where tensors are computed. Burn opens a device at its first operation and panics where the driver is missing, so each
//! device is tried before it is used.

use std::panic::{self, AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use thiserror::Error;

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

/// Why a device cannot be used here.
#[derive(Debug, Error)]
enum Unusable {
    #[error("it is not built in: `cargo install --path crates/cli --features {0}` builds it in")]
    NotBuilt(&'static str),
    #[error("{0}")]
    #[cfg_attr(
        not(any(feature = "cuda", feature = "wgpu")),
        expect(dead_code, reason = "the CPU needs no driver")
    )]
    NoDriver(&'static str),
    #[error("it says that a thousand ones are {0}")]
    Wrong(f32),
    #[error("it fails: {0}")]
    Panicked(String),
}

impl DeviceChoice {
    /// # Errors
    /// This program was built without the device, its driver is missing, or it does not compute.
    pub(crate) fn open(self) -> Result<Device> {
        let (name, opened) = match self {
            Self::Auto => return Ok(automatic()),
            Self::Flex => ("flex", checked(Device::flex)),
            Self::Cuda => ("cuda", cuda()),
            Self::Wgpu => ("wgpu", wgpu(|_| true)),
            Self::Libtorch => ("libtorch", libtorch()),
        };
        let device = opened.with_context(|| {
            format!("`--device {name}` cannot be used; `--device flex` computes on the CPU everywhere")
        })?;
        tracing::info!("device {name}, as asked");
        Ok(device)
    }
}

/// The first GPU that works, or else the CPU.
fn automatic() -> Device {
    let gpus = [("cuda", cuda()), ("wgpu", wgpu(is_card))];
    let mut passed_over = String::new();
    for (name, opened) in gpus {
        match opened {
            Ok(device) => {
                say(name, &passed_over);
                return device;
            }
            Err(Unusable::NotBuilt(_)) => passed_over += &format!("; {name} is not built in"),
            Err(why) => passed_over += &format!("; not {name}: {why}"),
        }
    }
    say("flex", &passed_over);
    Device::flex()
}

/// Names the device that was chosen: always where there was a choice, else to those who want to hear more.
fn say(name: &str, passed_over: &str) {
    if cfg!(any(feature = "cuda", feature = "wgpu")) {
        tracing::info!(target: CHOICE, "device {name}, chosen automatically{passed_over}");
    } else {
        tracing::info!("device {name}, chosen automatically{passed_over}");
    }
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, Unusable> {
    use burn::tensor::{DeviceIndex, DeviceType};

    if quietly(|| Device::enumerate(DeviceType::Cuda))?.is_empty() {
        return Err(Unusable::NoDriver(
            "no NVIDIA driver with a GPU is found: install the driver; `nvidia-smi` shows whether it works",
        ));
    }
    checked(|| Device::cuda(DeviceIndex::Default))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, Unusable> {
    Err(Unusable::NotBuilt("cuda"))
}

/// The first adapter that is `wanted`.
#[cfg(feature = "wgpu")]
fn wgpu(wanted: impl Fn(&Device) -> bool) -> Result<Device, Unusable> {
    use burn::tensor::DeviceType;

    let adapters = quietly(|| Device::enumerate(DeviceType::Wgpu).into_iter().find(wanted))?;
    let adapter = adapters.ok_or(Unusable::NoDriver(
        "no fitting graphics adapter is found: install the driver of the GPU (of Vulkan, on Linux)",
    ))?;
    checked(|| adapter)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: impl Fn(&Device) -> bool) -> Result<Device, Unusable> {
    Err(Unusable::NotBuilt("wgpu"))
}

/// Whether this adapter is a card: a renderer in software would be slower than flex.
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
fn libtorch() -> Result<Device, Unusable> {
    checked(Device::libtorch)
}

#[cfg(not(feature = "tch"))]
fn libtorch() -> Result<Device, Unusable> {
    Err(Unusable::NotBuilt("tch"))
}

/// The device, once it has computed something.
fn checked(open: impl FnOnce() -> Device) -> Result<Device, Unusable> {
    let (device, sum) = quietly(|| {
        let device = open();
        let sum: f32 = Tensor::<1>::ones([1000], &device).sum().into_scalar();
        (device, sum)
    })?;
    if sum == 1000.0 {
        Ok(device)
    } else {
        Err(Unusable::Wrong(sum))
    }
}

/// What `attempt` gives, or what it panicked with.
fn quietly<Outcome>(attempt: impl FnOnce() -> Outcome) -> Result<Outcome, Unusable> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let outcome = catch_unwind(AssertUnwindSafe(attempt));
    panic::set_hook(hook);
    outcome.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Unusable::Panicked(words.unwrap_or("without a word").to_owned())
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
        assert_eq!(DeviceChoice::Flex.open().unwrap(), Device::flex());
    }
}
