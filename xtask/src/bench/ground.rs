//! What both sides are compared on: a unit of the processor, or a GPU.

use std::process::Command;

use anyhow::Result;

use super::catalogue::Catalogue;
use crate::device::Device;
use crate::unit::Unit;

/// The variable that tells the peer where to compute.
const PEER_DEVICE: &str = "BLIP2_PEER_DEVICE";

/// Where both sides compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// On the processor, held to this unit.
    Processor(Unit),
    /// On a GPU: ours through this device, the peer by CUDA.
    Gpu(Device),
}

impl Ground {
    /// As files are named that belong to it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Processor(unit) => unit.name(),
            Self::Gpu(device) => device.name(),
        }
    }

    /// As people call it, with the option that asks for it.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Processor(unit) => format!("{} (`--unit {unit}`)", unit.title()),
            Self::Gpu(device) => format!("a GPU (`--device {}`)", device.name()),
        }
    }

    /// What is measured on it.
    ///
    /// # Errors
    /// The file of workloads cannot be read.
    pub(crate) fn catalogue(self) -> Result<Catalogue> {
        match self {
            Self::Processor(unit) => Catalogue::read(unit),
            Self::Gpu(_) => Catalogue::for_gpus(),
        }
    }

    /// Lets our side compute on it.
    pub(crate) fn hold_ours(self, command: &mut Command) {
        match self {
            Self::Processor(unit) => unit.hold_ours(command),
            Self::Gpu(device) => {
                command.arg(device.name());
            }
        }
    }

    /// The same of the peer.
    pub(crate) fn hold_peer(self, command: &mut Command) {
        match self {
            Self::Processor(unit) => unit.hold_peer(command),
            Self::Gpu(_) => {
                command.env(PEER_DEVICE, "cuda");
            }
        }
    }

    /// The unit that the peer's packages were built for.
    pub(crate) fn unit(self) -> Result<Unit> {
        match self {
            Self::Processor(unit) => Ok(unit),
            Self::Gpu(_) => Unit::choose(None),
        }
    }

    /// Rows, inputs and outputs of a product that shows what it can do.
    pub(crate) fn large_side(self) -> u64 {
        match self {
            Self::Processor(_) => 2048,
            Self::Gpu(_) => 8192,
        }
    }
}
