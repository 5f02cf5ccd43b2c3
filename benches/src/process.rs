//! The memory of this process, and of the device that it computes on.

use std::fs;

use anyhow::{Context, Result};
use burn::tensor::Device;

/// The most memory that was taken since the start or since [`forget_peak`], in bytes: of a GPU, what is reserved there.
pub(crate) fn peak_bytes(device: &Device) -> Result<u64> {
    if let Some(usage) = device.memory_pool_usage() {
        return Ok(usage.bytes_reserved);
    }
    let status = fs::read_to_string("/proc/self/status").context("cannot read the memory of this process")?;
    let kilobytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .context("the memory of this process has no peak")?
        .trim()
        .parse()?;
    Ok(kilobytes * 1024)
}

/// Lets the peak start anew from what is in use now.
pub(crate) fn forget_peak(device: &Device) -> Result<()> {
    device.memory_cleanup();
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak memory of this process")
}
