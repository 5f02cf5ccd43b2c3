//! Devices that programs and tests are built for. Builds for GPUs have other features, which would compile the tensor crates anew at
//! every turn: each lies in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::cuda::llvm;
use crate::places;

/// Where tensors are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// The CPU, by our kernels
    Flex,
    /// An NVIDIA GPU
    Cuda,
    /// Any GPU, through Vulkan, Metal or DirectX
    Wgpu,
    /// The CPU, by LibTorch
    Libtorch,
}

/// The crates that have a feature for each device: one that opens it, one that names it, one that compares on it.
const WITH_DEVICES: [&str; 3] = ["blip2-core", "blip2-cli", "blip2-golden"];

impl Device {
    /// As it is named on command lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Libtorch => "libtorch",
        }
    }

    /// What is built in. A program for NVIDIA GPUs takes others as well.
    fn built_in(self) -> &'static [&'static str] {
        match self {
            Self::Flex => &[],
            Self::Cuda => &["cuda", "wgpu"],
            Self::Wgpu => &["wgpu"],
            Self::Libtorch => &["tch"],
        }
    }

    /// Arguments of cargo that build it into all programs and tests of the workspace.
    pub(crate) fn features(self) -> Vec<String> {
        let features = self.built_in().iter().flat_map(|feature| {
            let of = move |package| format!("--features={package}/{feature}");
            WITH_DEVICES.into_iter().map(of)
        });
        features.collect()
    }

    /// The folder that is built in, below `target`.
    pub(crate) fn folder(self, target: &Path) -> PathBuf {
        match self {
            Self::Flex => target.to_path_buf(),
            other => target.join(other.name()),
        }
    }

    /// Lets `command`, a cargo with the [`Device::features`], build for it, and says in which folder.
    ///
    /// # Errors
    /// A device that needs more than crates, which is not in place under `home`.
    pub(crate) fn prepare(self, command: &mut Command, home: &Path) -> Result<PathBuf> {
        let folder = self.folder(&places::target()?);
        command.env("CARGO_TARGET_DIR", &folder);
        if self == Self::Cuda {
            command.env(llvm::DATA, llvm::found(home)?).env_remove("DOCS_RS");
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_but_the_processor_has_features_and_a_folder_of_its_own() {
        let mut folders = Vec::new();
        for device in Device::value_variants() {
            let is_usual = *device == Device::Flex;
            assert_eq!(device.features().is_empty(), is_usual, "{device:?}");
            folders.push(device.folder(Path::new("target")));
        }
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), Device::value_variants().len());
        assert!(
            Device::Cuda
                .features()
                .contains(&"--features=blip2-core/cuda".to_owned())
        );
    }
}
