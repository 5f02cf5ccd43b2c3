//! `cargo xtask parity`: every comparison with the reference implementations, a line each, and the verdict. The tests of
//! the crates compare and log (`blip2-golden`); here they are run, and what none of them looked at is a failure.

mod coverage;
mod table;
mod verdict;

use std::fs::{self, File};
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use blip2_golden::{DEVICE, LOG, ROOT};
use clap::{Args, ValueEnum};

use crate::{launch, places, process};
use verdict::Verdict;

#[derive(Args)]
pub(crate) struct Parity {
    /// Folder with reference data, laid out as tests/golden [default: tests/golden]
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Where tensors are computed
    #[arg(long, value_enum, default_value_t = Device::Flex)]
    device: Device,
    /// Print a Markdown table of what was measured, as it stands in docs/fidelity.md
    #[arg(long)]
    markdown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Device {
    /// The CPU, by our kernels
    Flex,
    /// An NVIDIA GPU
    Cuda,
    /// Any GPU, through Vulkan, Metal or DirectX
    Wgpu,
    /// The CPU, by LibTorch
    Libtorch,
}

impl Device {
    /// What the tests call it, and the feature that builds it in where it is not always there.
    fn name_and_feature(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Flex => ("flex", None),
            Self::Cuda => ("cuda", Some("blip2-golden/cuda")),
            Self::Wgpu => ("wgpu", Some("blip2-golden/wgpu")),
            Self::Libtorch => ("libtorch", Some("blip2-golden/tch")),
        }
    }
}

impl Parity {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let own = places::root().join("tests/golden");
        let golden = match &self.golden {
            Some(folder) => absolute(folder)?,
            None => own,
        };
        ensure!(
            golden.is_dir(),
            "{} is no folder: --golden takes one laid out as tests/golden",
            golden.display()
        );
        let folder = places::target()?.join("parity");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let run = Run {
            device: self.device,
            log: folder.join("log.tsv"),
            output: folder.join("tests.txt"),
        };
        let success = run.tests(self.golden.is_some().then_some(&golden))?;
        let verdict = Verdict::of(&golden, &read(&run.log)?, &read(&run.output)?, success)?;
        if self.markdown {
            print!("{}", table::markdown(&verdict.comparisons));
        } else {
            verdict
                .comparisons
                .iter()
                .for_each(|comparison| println!("{comparison}"));
        }
        let failed = verdict.failed();
        if failed > 0 {
            eprintln!("what the failed tests say: {}", run.output.display());
        }
        if !self.markdown || failed > 0 {
            println!("{} passed, {failed} failed", verdict.comparisons.len() - failed);
        }
        Ok(match failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// The files of one run of the golden tests.
struct Run {
    device: Device,
    log: PathBuf,
    output: PathBuf,
}

impl Run {
    /// Runs all golden tests, on `golden` in place of the repository's own folder, and says whether all passed.
    fn tests(&self, golden: Option<&PathBuf>) -> Result<bool> {
        File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let output =
            File::create(&self.output).with_context(|| format!("cannot write {}", self.output.display()))?;
        let (device, feature) = self.device.name_and_feature();
        let mut arguments = vec!["test", "--release", "--workspace", "--exclude", "xtask"];
        arguments.extend(feature.iter().flat_map(|feature| ["--features", feature]));
        arguments.extend(["--test", "main", "--no-fail-fast", "golden"]);
        let mut command = launch::cargo();
        command
            .args(&arguments)
            .current_dir(places::root())
            .stdout(output)
            .env("CARGO_TARGET_DIR", places::target()?)
            .env(DEVICE, device)
            .env(LOG, &self.log)
            .env_remove(ROOT);
        if let Some(golden) = golden {
            command.env(ROOT, golden);
        }
        eprintln!("{DEVICE}={device} cargo {}", arguments.join(" "));
        let success = process::run(&mut command, || ())?.is_success();
        if !success && !read(&self.output)?.contains("test result:") {
            bail!("the golden tests could not be built");
        }
        Ok(success)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
