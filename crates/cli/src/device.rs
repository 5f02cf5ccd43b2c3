//! Where tensors are computed.

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// The fastest that this program was built for
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
    /// Where this program was built without the backend.
    pub(crate) fn open(self) -> Result<Device> {
        let choice = if self == Self::Auto { fastest() } else { self };
        let device = match choice {
            Self::Auto | Self::Flex => Device::flex(),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(burn::tensor::DeviceIndex::Default),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "libtorch")]
            #[expect(deprecated, reason = "kept to compare with, as long as burn has it")]
            Self::Libtorch => Device::libtorch(),
            #[cfg(not(all(feature = "cuda", feature = "wgpu", feature = "libtorch")))]
            absent => {
                let name = absent.name();
                bail!(
                    "this program was built without `--device {name}`: build it with \
                     `cargo install --path crates/cli --features {name}`, or choose `--device flex`"
                )
            }
        };
        let chosen = if self == Self::Auto {
            "chosen automatically"
        } else {
            "as asked"
        };
        tracing::info!("device {}, {chosen}", choice.name());
        Ok(device)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Libtorch => "libtorch",
        }
    }
}

fn fastest() -> DeviceChoice {
    if cfg!(feature = "cuda") {
        DeviceChoice::Cuda
    } else if cfg!(feature = "wgpu") {
        DeviceChoice::Wgpu
    } else {
        DeviceChoice::Flex
    }
}
