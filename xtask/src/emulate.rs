//! The tests of the kernels on processors that this machine is not: cargo runs them under QEMU's user emulation.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{launch, places, process};

/// QEMU knows AVX2 from this version on: an older one would test the older instructions in its place.
const VERSION: (u32, u32) = (7, 2);

/// A processor to stand in for.
struct Machine {
    /// What it has.
    title: &'static str,
    target: &'static str,
    emulator: &'static str,
    /// Its name to the emulator.
    processor: &'static str,
    /// Where the libraries of the target lie, if not with ours.
    libraries: Option<&'static str>,
    linker: Option<&'static str>,
}

const MACHINES: [Machine; 3] = [
    Machine {
        title: "AVX2, no AVX-512",
        target: "x86_64-unknown-linux-gnu",
        emulator: "qemu-x86_64",
        processor: "Haswell",
        libraries: None,
        linker: None,
    },
    Machine {
        title: "SSE2 alone",
        target: "x86_64-unknown-linux-gnu",
        emulator: "qemu-x86_64",
        processor: "Opteron_G1",
        libraries: None,
        linker: None,
    },
    Machine {
        title: "Arm, NEON",
        target: "aarch64-unknown-linux-gnu",
        emulator: "qemu-aarch64",
        processor: "max",
        libraries: Some("/usr/aarch64-linux-gnu"),
        linker: Some("aarch64-linux-gnu-gcc"),
    },
];

/// Runs the tests on each machine, also after one has failed, and tells whether all have passed. A machine that cannot be stood
/// in for here is named, and does not pass.
///
/// # Errors
/// Cargo cannot be run.
pub(crate) fn run() -> Result<bool> {
    let mut lines = Vec::new();
    let mut passed = true;
    for machine in &MACHINES {
        println!(
            "\n== {} ({} {})",
            machine.title, machine.emulator, machine.processor
        );
        let outcome = match machine.obstacle() {
            Ok(()) => match machine.test()? {
                true => "passed".to_owned(),
                false => "FAILED".to_owned(),
            },
            Err(obstacle) => format!("NOT RUN: {obstacle:#}"),
        };
        passed &= outcome == "passed";
        lines.push(format!("{:<18} {outcome}", machine.title));
    }
    println!();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(passed)
}

impl Machine {
    /// What is missing here to stand in for it.
    fn obstacle(&self) -> Result<()> {
        let version = Command::new(self.emulator).arg("--version").output();
        let version = version.with_context(|| format!("there is no {}: install qemu-user", self.emulator))?;
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        let found = parse(&text).with_context(|| format!("{} says {text:?} of itself", self.emulator))?;
        ensure!(
            found >= VERSION,
            "{} is of version {}.{}; it must be at least {}.{}",
            self.emulator,
            found.0,
            found.1,
            VERSION.0,
            VERSION.1
        );
        let output = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", self.target])
            .output()
            .context("rustc")?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !Path::new(&folder).is_dir() {
            bail!(
                "the standard library for {} is missing: rustup target add {}",
                self.target,
                self.target
            );
        }
        if let Some(linker) = self.linker {
            let version = Command::new(linker).arg("--version").output();
            version.with_context(|| format!("there is no {linker}: install gcc-aarch64-linux-gnu"))?;
        }
        Ok(())
    }

    fn test(&self) -> Result<bool> {
        let mut runner = format!("{} -cpu {}", self.emulator, self.processor);
        if let Some(libraries) = self.libraries {
            runner.push_str(&format!(" -L {libraries}"));
        }
        let variable = |name: &str| {
            let target = self.target.to_uppercase().replace('-', "_");
            format!("CARGO_TARGET_{target}_{name}")
        };
        let mut command = launch::cargo();
        command
            .args([
                "test",
                "--release",
                "--package",
                "blip2-kernels",
                "--test",
                "main",
            ])
            .env("CARGO_TARGET_DIR", places::target()?)
            .env(variable("RUNNER"), runner);
        if let Some(linker) = self.linker {
            command.env(variable("LINKER"), linker);
        }
        if !self.target.starts_with(ARCH) {
            command.args(["--target", self.target]);
        }
        // What a test starts would not be emulated.
        command.args(["--", "--skip", "processes"]);
        Ok(process::run(&mut command, || ())?.is_success())
    }
}

/// The version in what an emulator says of itself.
fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .split_once("version ")?
        .1
        .split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse("qemu-x86_64 version 7.2.22 (Debian 1:7.2)\n"), Some((7, 2)));
        assert_eq!(parse("qemu-aarch64 version 10.0.2"), Some((10, 0)));
        assert_eq!(parse("something else"), None);
    }
}
