//! `cargo xtask test`: all that CI runs, one step after the other, each announced and timed.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::{
    assembly, assets, cuda, exit_code, launch, openai, package, places, process, python, ranks, tidy,
};

const CARGO_STEPS: &[(&str, &[&str])] = &[
    ("formatting", &["fmt", "--all", "--check"]),
    (
        "lints",
        &[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ),
    ("tests", &["test", "--release", "--workspace", "--no-fail-fast"]),
    (
        "documentation",
        &[
            "doc",
            "--release",
            "--workspace",
            "--no-deps",
            "--config",
            "build.rustdocflags=['-D', 'warnings']",
        ],
    ),
];

/// What is written for NVIDIA GPUs is linked where that was done before or is asked for by [`LINK`], for it takes a quarter of an hour
/// the first time; elsewhere it is checked for its types alone, without the LLVM that it is linked with: `DOCS_RS` tells a build
/// script to do without.
const CUDA: &[&str] = &["check", "--package", "blip2-cli", "--features", "cuda,remote"];

/// The variable that asks for the program for NVIDIA GPUs to be linked: `link`.
const LINK: &str = "BLIP2_CUDA";

/// The crates whose tests run once more with debug assertions and checks for overflow: those that count bytes, and where other people's
/// files are read.
const CHECKED: [&str; 3] = ["blip2-kernels", "blip2-core", "blip2-data"];
/// What is switched on for these crates alone: what they stand on stays as it was compiled.
const CHECKS: [&str; 2] = ["debug-assertions", "overflow-checks"];
/// What reads object stores, against a server on this machine.
const REMOTE: &str = "blip2-data/remote";

/// What trains over several processes, and the tests that start them.
const RANKS: [&[&str]; 2] = [
    &[
        "clippy",
        "--release",
        "--package",
        "blip2-distributed",
        "--features",
        "mpi",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ],
    &[
        "test",
        "--release",
        "--workspace",
        "--features",
        ranks::FEATURE,
        "--test",
        "ranks",
    ],
];
/// Debian's Open MPI, to build with and to start by.
const OPEN_MPI: [&str; 2] = ["openmpi-bin", "libopenmpi-dev"];

/// The tests of the page, in the browser that Debian calls by this name.
const BROWSER: &[&str] = &[
    "test",
    "--release",
    "--workspace",
    "--test",
    "browser",
    "--",
    "--ignored",
];
const CHROMIUM: [&str; 1] = ["chromium"];

/// The kernels for NVIDIA's GPUs on the processor, each instruction written out in C++.
const GPU_KERNELS: &[&str] = &[
    "test",
    "--release",
    "--workspace",
    "--test",
    "main",
    "--",
    "--ignored",
    "gpu_kernels::",
];
const COMPILER: [&str; 1] = ["g++"];

/// Runs every step, also after one has failed, so that one run shows all that is wrong.
///
/// # Errors
/// The assets cannot be fetched (the tests could only say the same), or a step cannot be run at all.
pub(crate) fn run(home: &Path) -> Result<ExitCode> {
    let target = places::target()?;
    let mut steps = Steps::default();
    steps.take("assets", || assets::ensure(home).map(|()| true))?;
    steps.take("tidiness", || {
        let complaints = tidy::complaints(places::root())?;
        complaints.iter().for_each(|complaint| println!("{complaint}"));
        Ok(complaints.is_empty())
    })?;
    for &(name, arguments) in CARGO_STEPS {
        steps.take(name, || cargo(arguments, &target, home))?;
    }
    steps.take("packages", || package::run(&target))?;
    steps.take("ranks", || {
        if !has_or_installs(ranks::is_there, &OPEN_MPI)? {
            return Ok(skipped("Open MPI", &OPEN_MPI));
        }
        let mut passed = true;
        for arguments in RANKS {
            passed &= cargo(arguments, &target, home)?;
        }
        Ok(passed)
    })?;
    steps.take("clients", || match openai::check(&target)? {
        Some(passed) => Ok(passed),
        None => {
            println!("SKIPPED: Python has no pip here, or pip nothing to fetch from: `blip2 serve` was not asked by OpenAI's client");
            Ok(true)
        }
    })?;
    steps.take("python", || match python::check(&target)? {
        Some(passed) => Ok(passed),
        None => {
            println!("SKIPPED: Python has no venv with pip here, or pip nothing to fetch from: the package `blip2` was not tested");
            Ok(true)
        }
    })?;
    steps.take("browser", || {
        if !has_or_installs(browser_is_there, &CHROMIUM)? {
            return Ok(skipped("Chromium", &CHROMIUM));
        }
        cargo(BROWSER, &target, home)
    })?;
    steps.take("gpu-kernels", || {
        if !has_or_installs(compiler_is_there, &COMPILER)? {
            return Ok(skipped("C++ compiler", &COMPILER));
        }
        cargo(GPU_KERNELS, &target, home)
    })?;
    steps.take("assembly", || said(assembly::run(None)))?;
    // Other sets of features in the same folder would build the tensor crates anew at every turn.
    steps.take("checked", || cargo(&checked(), &target.join("remote"), home))?;
    steps.take("cuda", || {
        if cuda::was_linked()? || env::var_os(LINK).is_some_and(|asked| asked == "link") {
            println!("linked and started: for that was done here before, or {LINK}=link asks for it");
            return said(cuda::links(home));
        }
        println!(
            "NOT LINKED, its types alone are checked: linking takes a quarter of an hour the first time; `cargo xtask cuda --setup` does \
             it, and so does this step with {LINK}=link in the environment"
        );
        println!("DOCS_RS=1 cargo {}", CUDA.join(" "));
        let mut command = launch::cargo();
        let target = target.join("cuda");
        command
            .args(CUDA)
            .env("CARGO_TARGET_DIR", target)
            .env("DOCS_RS", "1");
        Ok(process::run(&mut command, || ())?.is_success())
    })?;
    Ok(steps.conclude())
}

/// How cargo runs the tests of [`CHECKED`], those that [`REMOTE`] adds included.
fn checked() -> Vec<String> {
    let mut arguments = vec!["test".to_owned(), "--release".to_owned()];
    for package in CHECKED {
        for check in CHECKS {
            let setting = format!("profile.release.package.{package}.{check}=true");
            arguments.extend(["--config".to_owned(), setting]);
        }
        arguments.extend(["--package".to_owned(), package.to_owned()]);
    }
    arguments.extend(["--features".to_owned(), REMOTE.to_owned()]);
    arguments
}

/// A failure that is said, so that the steps behind it are taken all the same; a wish to stop ends them.
fn said(done: Result<bool>) -> Result<bool> {
    match done {
        Err(error) if !error.is::<process::Stopped>() => {
            println!("{error:#}");
            Ok(false)
        }
        done => done,
    }
}

/// Calls cargo, and says how; whether it succeeded.
fn cargo(arguments: &[impl AsRef<str>], target: &Path, home: &Path) -> Result<bool> {
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    println!("cargo {}", arguments.join(" "));
    let mut command = launch::cargo();
    command
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("BLIP2_HOME", home);
    Ok(process::run(&mut command, || ())?.is_success())
}

/// Whether a browser answers to the name by which the tests look for it, or to the one that `BLIP2_BROWSER` gives.
fn browser_is_there() -> bool {
    answers(&std::env::var("BLIP2_BROWSER").unwrap_or_else(|_| CHROMIUM[0].to_owned()))
}

/// Whether a C++ compiler answers to its usual name, or to the one that `CXX` gives.
fn compiler_is_there() -> bool {
    answers(&std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned()))
}

fn answers(name: &str) -> bool {
    let mut command = Command::new(name);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Says why a step is left out, which fails nothing.
fn skipped(what: &str, packages: &[&str]) -> bool {
    let packages = packages.join(" ");
    println!("SKIPPED: there is no {what} here, and no right to install it: apt-get install {packages}");
    true
}

/// Whether something `is_there`; installs the `packages` of Debian that hold it where that is allowed and possible.
fn has_or_installs(is_there: fn() -> bool, packages: &[&str]) -> Result<bool> {
    if is_there() {
        return Ok(true);
    }
    if !rustix::process::getuid().is_root() {
        return Ok(false);
    }
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    for arguments in [&["update"][..], &install] {
        println!("apt-get {}", arguments.join(" "));
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        // Where there is no apt-get, there is nothing to install by.
        match process::run(&mut command, || ()) {
            Ok(ending) if ending.is_success() => {}
            Err(error) if error.is::<process::Stopped>() => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(is_there())
}

/// The steps taken so far: name, seconds, success.
#[derive(Default)]
struct Steps(Vec<(&'static str, f64, bool)>);

impl Steps {
    fn take(&mut self, name: &'static str, step: impl FnOnce() -> Result<bool>) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let success = step()?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "== {name}: {} ({seconds:.1} s)",
            if success { "ok" } else { "FAILED" }
        );
        self.0.push((name, seconds, success));
        Ok(())
    }

    fn conclude(self) -> ExitCode {
        println!();
        for (name, seconds, success) in &self.0 {
            println!(
                "{:<6} {name:<12} {seconds:>8.1} s",
                if *success { "ok" } else { "FAILED" }
            );
        }
        exit_code(self.0.iter().all(|(_, _, success)| *success))
    }
}
