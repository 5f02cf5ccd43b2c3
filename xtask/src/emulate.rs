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

const MACHINES: [Machine; 4] = [
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
        title: "Arm, NEON alone",
        processor: "cortex-a72",
        ..ARM
    },
    Machine {
        title: "Arm, BF16",
        processor: "max",
        ..ARM
    },
];

/// What all machines with Arm's instructions have in common.
const ARM: Machine = Machine {
    title: "Arm",
    target: "aarch64-unknown-linux-gnu",
    emulator: "qemu-aarch64",
    processor: "max",
    libraries: Some("/usr/aarch64-linux-gnu"),
    linker: Some("aarch64-linux-gnu-gcc"),
};

/// Runs the tests on each machine, also after one has failed, checks all crates' types for Arm, and tells whether all has passed.
/// What cannot be stood in for here is named, and does not pass.
///
/// # Errors
/// Cargo cannot be run.
pub(crate) fn run() -> Result<bool> {
    let mut outcomes = Outcomes::default();
    for machine in &MACHINES {
        println!(
            "\n== {} ({} {})",
            machine.title, machine.emulator, machine.processor
        );
        outcomes.take(machine, machine.title, Machine::test)?;
    }
    println!("\n== all crates, their types, for {}", ARM.target);
    outcomes.take(&ARM, "Arm, all crates", Machine::check_types)?;
    println!();
    outcomes.lines.iter().for_each(|line| println!("{line}"));
    Ok(outcomes.passed)
}

/// What was run so far.
struct Outcomes {
    /// One each.
    lines: Vec<String>,
    /// Whether all of it passed.
    passed: bool,
}

impl Default for Outcomes {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            passed: true,
        }
    }
}

impl Outcomes {
    fn take(
        &mut self,
        machine: &Machine,
        title: &str,
        run: impl FnOnce(&Machine) -> Result<bool>,
    ) -> Result<()> {
        let outcome = match machine.obstacle() {
            Ok(()) => match run(machine)? {
                true => "passed".to_owned(),
                false => "FAILED".to_owned(),
            },
            Err(obstacle) => format!("NOT RUN: {obstacle:#}"),
        };
        self.passed &= outcome == "passed";
        self.lines.push(format!("{title:<18} {outcome}"));
        Ok(())
    }
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

    /// Runs the tests of the kernels.
    fn test(&self) -> Result<bool> {
        let mut runner = format!("{} -cpu {}", self.emulator, self.processor);
        if let Some(libraries) = self.libraries {
            runner.push_str(&format!(" -L {libraries}"));
        }
        let mut command = self.cargo(&[
            "test",
            "--release",
            "--package",
            "blip2-kernels",
            "--test",
            "main",
        ])?;
        command.env(self.variable("RUNNER"), runner);
        // What a test starts would not be emulated.
        command.args(["--", "--skip", "processes"]);
        Ok(process::run(&mut command, || ())?.is_success())
    }

    /// Checks the types of all crates and of what they are built on.
    fn check_types(&self) -> Result<bool> {
        let mut command = self.cargo(&["check", "--workspace", "--release"])?;
        Ok(process::run(&mut command, || ())?.is_success())
    }

    /// Cargo with these arguments, for the target.
    fn cargo(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = launch::cargo();
        command.args(arguments).env("CARGO_TARGET_DIR", places::target()?);
        if let Some(linker) = self.linker {
            command.env(self.variable("LINKER"), linker);
        }
        if !self.target.starts_with(ARCH) {
            command.args(["--target", self.target]);
        }
        Ok(command)
    }

    /// The variable by which cargo is told something about the target.
    fn variable(&self, name: &str) -> String {
        let target = self.target.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{target}_{name}")
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
