//! What Linux knows of this process's memory.

use std::fs;

use anyhow::{Context, Result};

/// The most memory that was resident since the start or since [`forget_peak`], in bytes.
pub(crate) fn peak_bytes() -> Result<u64> {
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

/// Lets the peak start anew from what is resident now.
pub(crate) fn forget_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak memory of this process")
}
