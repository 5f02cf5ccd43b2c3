//! `cargo xtask cuda`: the program for machines with NVIDIA GPUs, built where there need not be one, and packed to be carried there.

pub(crate) mod llvm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::assets::clear;
use crate::device::Device;
use crate::{exit_code, launch, places, process};

/// What is packed: the program, our side of the benchmark, and who sets it against the peer.
const PROGRAMS: [&str; 3] = ["blip2", "blip2-bench", "xtask"];
/// Built in as well: who trains on many GPUs reads shards from object stores.
const FURTHER: [&str; 1] = ["blip2-cli/remote"];
/// What `xz` is told: the programs have much in common, which it finds as far as its dictionary reaches.
const XZ: &str = "-6 --lzma2=preset=6,dict=256MiB";
/// What `blip2 doctor` says where there is no GPU.
const NO_DRIVER: &str = "no NVIDIA driver with a GPU is found";

#[derive(Args)]
pub(crate) struct Cuda {
    /// Put LLVM in place first, which it is linked with: 92 MB from the Python registry; what is in place stays
    #[arg(long)]
    setup: bool,
    /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl Cuda {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let home = places::home(self.home)?;
        if self.setup {
            llvm::set_up(&home)?;
        }
        // A quarter of an hour on two cores, the first time: whatever else is done here comes first.
        if let Err(error) = rustix::process::nice(10) {
            eprintln!("at the usual priority ({error})");
        }
        let folder = launch::build_for(Device::Cuda, &home, &PROGRAMS, &FURTHER)?;
        if !starts(&folder.join(PROGRAMS[0]), &home)? {
            return Ok(exit_code(false));
        }
        let packed = pack(&folder)?;
        let bytes = fs::metadata(&packed)?.len();
        println!("{} ({} MB)", places::shown(&packed), bytes.div_ceil(1_000_000));
        println!(
            "on a machine with an NVIDIA GPU: tests/gpu/run.sh {}",
            packed.display()
        );
        Ok(exit_code(true))
    }
}

/// Whether the programs link and the first of them starts.
///
/// # Errors
/// LLVM cannot be put in place; it does not build.
pub(crate) fn links(home: &Path) -> Result<bool> {
    llvm::set_up(home)?;
    // All that is packed: another choice of programs would compile the tensor crates anew.
    let folder = launch::build_for(Device::Cuda, home, &PROGRAMS, &FURTHER)?;
    starts(&folder.join(PROGRAMS[0]), home)
}

/// Whether the program was linked here before, so that linking it again takes minutes.
pub(crate) fn was_linked() -> Result<bool> {
    let folder = Device::Cuda.folder(&places::target()?);
    Ok(folder.join("release").join(PROGRAMS[0]).is_file())
}

/// Whether `program` starts and knows whether there is a GPU, which it says.
fn starts(program: &Path, home: &Path) -> Result<bool> {
    let output = Command::new(program)
        .args(["doctor", "--device", "cuda"])
        .env("BLIP2_HOME", home)
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.lines().find(|line| line.contains("device: "));
    let Some(verdict) = verdict else {
        println!("{} says nothing of a device: {said}", program.display());
        return Ok(false);
    };
    println!("blip2 doctor --device cuda: {verdict}");
    Ok(verdict.starts_with("ok") || verdict.contains(NO_DRIVER))
}

/// Strips the programs in `folder` and packs them into one file beside it.
fn pack(folder: &Path) -> Result<PathBuf> {
    let packed = folder.with_file_name("blip2-cuda.tar.xz");
    let stripped = folder.with_file_name("stripped");
    clear(&stripped)?;
    fs::create_dir(&stripped).with_context(|| format!("cannot make {}", stripped.display()))?;
    for name in PROGRAMS {
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(stripped.join(name)).arg(folder.join(name));
        finish("strip", strip)?;
    }
    let mut tar = Command::new("tar");
    tar.args(["--create", "--xz", "--file"])
        .arg(&packed)
        .arg("--directory")
        .arg(&stripped)
        .args(PROGRAMS);
    if env::var_os("XZ_OPT").is_none() {
        tar.env("XZ_OPT", XZ);
    }
    finish("tar", tar)?;
    Ok(packed)
}

fn finish(name: &str, mut command: Command) -> Result<()> {
    let ending = process::run(&mut command, || ())?;
    if !ending.is_success() {
        bail!("{name} did not finish ({ending})");
    }
    Ok(())
}
