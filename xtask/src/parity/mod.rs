//! `cargo xtask parity`: every comparison with the reference implementations, a line each, and the verdict. The tests of
//! the crates compare and log (`blip2-golden`); here they are run, and what none of them looked at is a failure.

mod coverage;
mod kernels;
mod table;
mod verdict;

use std::fs::{self, File};
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use blip2_golden::{DEVICE, LOG, ROOT};
use clap::Args;

use crate::device::Device;
use crate::{exit_code, launch, places, process};
use kernels::Kernels;
use verdict::Verdict;

#[derive(Args)]
pub(crate) struct Parity {
    /// Folder with reference data, laid out as tests/golden [default: tests/golden]
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Where tensors are computed
    #[arg(long, value_enum, default_value_t = Device::Flex)]
    device: Device,
    /// Compare by the kernels for each vector unit of this machine in turn, and by the definitions
    #[arg(long, conflicts_with = "markdown")]
    every_unit: bool,
    /// Print a Markdown table of what was measured, as it stands in docs/fidelity.md
    #[arg(long)]
    markdown: bool,
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
        ensure!(
            !self.every_unit || self.device == Device::Flex,
            "--every-unit is for flex: other devices have no kernels of ours"
        );
        let given = self.golden.is_some().then_some(&golden);
        let every = match self.every_unit {
            true => Kernels::every(),
            false => vec![Kernels::AsTheyAre],
        };
        let mut comparisons = Vec::new();
        for kernels in every {
            let run = Run::new(self.device, kernels)?;
            let success = run.tests(given)?;
            let mut verdict = Verdict::of(&golden, &read(&run.log)?, &read(&run.output)?, success)?;
            if verdict.failed() > 0 {
                eprintln!("what the failed tests say: {}", run.output.display());
            }
            for comparison in &mut verdict.comparisons {
                if let Some(name) = kernels.name() {
                    comparison.subject = format!("{name}/{}", comparison.subject);
                }
                if !self.markdown {
                    println!("{comparison}");
                }
            }
            comparisons.append(&mut verdict.comparisons);
        }
        if self.markdown {
            print!("{}", table::markdown(&comparisons));
        }
        let failed = comparisons
            .iter()
            .filter(|comparison| !comparison.passed())
            .count();
        if !self.markdown || failed > 0 {
            println!("{} passed, {failed} failed", comparisons.len() - failed);
        }
        Ok(exit_code(failed == 0))
    }
}

/// The files of one run of the golden tests.
struct Run {
    device: Device,
    kernels: Kernels,
    log: PathBuf,
    output: PathBuf,
}

impl Run {
    fn new(device: Device, kernels: Kernels) -> Result<Self> {
        let folder = places::target()?.join("parity");
        let folder = kernels.name().map_or(folder.clone(), |name| folder.join(name));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            device,
            kernels,
            log: folder.join("log.tsv"),
            output: folder.join("tests.txt"),
        })
    }

    /// Runs all golden tests, on `golden` in place of the repository's own folder, and says whether all passed.
    fn tests(&self, golden: Option<&PathBuf>) -> Result<bool> {
        File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let output =
            File::create(&self.output).with_context(|| format!("cannot write {}", self.output.display()))?;
        let mut arguments = vec!["test", "--release", "--workspace", "--exclude", "xtask"];
        let features = self.device.features();
        arguments.extend(features.iter().map(String::as_str));
        arguments.extend(["--test", "main", "--no-fail-fast", "golden"]);
        if self.device != Device::Flex {
            // Those that compare a device with the processor.
            arguments.extend(["--", "--include-ignored"]);
        }
        let mut command = launch::cargo();
        self.device.prepare(&mut command, &places::home(None)?)?;
        let device = self.device.name();
        command
            .args(&arguments)
            .current_dir(places::root())
            .stdout(output)
            .env(DEVICE, device)
            .env(LOG, &self.log)
            .env_remove(ROOT);
        self.kernels.hold(&mut command);
        if let Some(golden) = golden {
            command.env(ROOT, golden);
        }
        let kernels = self
            .kernels
            .name()
            .map_or(String::new(), |name| format!(", kernels for {name}"));
        eprintln!("{DEVICE}={device} cargo {}{kernels}", arguments.join(" "));
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
