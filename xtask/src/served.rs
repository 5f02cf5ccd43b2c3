//! `blip2 serve` as a child process: started, found, and ended.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::places;

/// How the program says where it listens.
const LISTENING: &str = "listening on http://";

/// A server that runs until it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// Starts `binary` over `model` on a free port, with `options` beside.
    ///
    /// # Errors
    /// It does not start, or does not get so far as to listen.
    pub(crate) fn start(binary: &Path, model: &Path, options: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(["serve", "--port", "0", "--model"])
            .arg(model)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", binary.display()))?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line
            .trim()
            .strip_prefix(LISTENING)
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let ending = child.wait()?;
            anyhow::bail!("`blip2 serve` does not listen ({ending}): {line}");
        };
        Ok(Self { child, address })
    }

    /// One of the small models that come with the repository.
    pub(crate) fn small_model(name: &str) -> PathBuf {
        places::root().join("tests/golden/hf").join(name)
    }

    /// Memory that it takes now, in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(1024 * kilobytes.context("no resident memory")?)
    }

    /// Asks it to end, and waits for that; whether it ended well.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn stop(mut self) -> Result<bool> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
