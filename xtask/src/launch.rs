//! Building the `blip2` binary, launching a training run with it, and restarting a run that is killed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::device::Device;
use crate::process::{self, Ending};
use crate::ranks::Ranks;
use crate::{assets, places, report};

/// Milliseconds before mimalloc gives freed memory back. Training frees and takes large tensors all the time; at the default
/// of 10 ms a tenth of it is the kernel clearing pages.
pub(crate) const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// The command of `blip2` that trains by any recipe.
pub(crate) const PRETRAIN: &str = "pretrain";

/// What every training command takes.
#[derive(Args)]
struct Options {
    /// Run folder to write [default: runs/ and the name of the recipe]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Change one key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Continue the run in the run folder from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Fetch first what the cache lacks of the models that the recipe calls by their names on the hub
    #[arg(long)]
    download: bool,
    /// Restart from the last checkpoint, so many times, when the run is killed, or fails after it had begun to train
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_restarts: u32,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Device::Flex)]
    device: Device,
    /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Neither fetch nor verify the assets first
    #[arg(long)]
    no_assets: bool,
    #[command(flatten)]
    ranks: Ranks,
}

#[derive(Args)]
pub(crate) struct Demo {
    /// Recipe to train by [default: recipes/mini/demo.toml]
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Seed of everything random [default: the recipe's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
pub(crate) struct Pretrain {
    /// Recipe to train by
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    #[command(flatten)]
    options: Options,
}

impl Demo {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let recipe = self
            .recipe
            .unwrap_or_else(|| places::root().join("recipes/mini/demo.toml"));
        let mut options = self.options;
        options.set.extend(self.seed.map(|seed| format!("seed={seed}")));
        let training = Training::prepare(PRETRAIN, recipe, options)?;
        let ending = training.supervise()?;
        if !ending.is_success() {
            return Ok(ending.exit_code());
        }
        let run = places::shown(&training.run);
        println!("\n{}", report::table(&training.run)?);
        println!("report:   {}", places::shown(&training.run.join("report.html")));
        println!("caption your own picture:");
        println!(
            "  {} caption --model {run} picture.png",
            places::shown(&training.binary)
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Pretrain {
    /// By the command `name` of `blip2`.
    pub(crate) fn run(self, name: &'static str) -> Result<ExitCode> {
        Ok(Training::prepare(name, self.recipe, self.options)?
            .supervise()?
            .exit_code())
    }
}

/// A training run that is ready to be launched.
pub(crate) struct Training {
    /// Of `blip2`.
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) recipe: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) set: Vec<String>,
    pub(crate) resume: bool,
    pub(crate) download: bool,
    pub(crate) max_restarts: u32,
    pub(crate) device: Device,
    pub(crate) ranks: Ranks,
}

impl Training {
    /// Checks what can be checked at once, then fetches the assets and builds the binary.
    fn prepare(name: &'static str, recipe: PathBuf, options: Options) -> Result<Self> {
        if !recipe.is_file() {
            bail!("there is no recipe {}", places::shown(&recipe));
        }
        let run = match options.run {
            Some(run) => run,
            None => places::root()
                .join("runs")
                .join(recipe.file_stem().context("the recipe has no name")?),
        };
        if !options.resume && holds_something(&run) {
            let run = places::shown(&run);
            bail!(
                "{run} holds a run already: continue it with --resume, choose another folder with --run, or remove it"
            );
        }
        let home = places::home(options.home)?;
        if !options.no_assets {
            assets::ensure(&home)?;
        }
        let folder = build_for(options.device, &home, &["blip2"], options.ranks.features())?;
        Ok(Self {
            name,
            binary: folder.join("blip2"),
            home,
            recipe,
            run,
            set: options.set,
            resume: options.resume,
            download: options.download,
            max_restarts: options.max_restarts,
            device: options.device,
            ranks: options.ranks,
        })
    }

    /// Runs to the end, and again from the last checkpoint each time that the run is killed, or fails while it trains. What
    /// is refused before that would be refused again.
    pub(crate) fn supervise(&self) -> Result<Ending> {
        let mut resume = self.resume;
        for restart in 1.. {
            let before = self.logged();
            let ending = process::run(&mut self.command(resume), || ())?;
            let was_training = matches!(ending, Ending::Signal(_)) || self.logged() != before;
            if ending.is_success() || !was_training {
                return Ok(ending);
            }
            eprintln!("{} {ending}", places::shown(&self.binary));
            if restart > self.max_restarts {
                eprintln!("repeat the command with --resume to continue from the last checkpoint");
                return Ok(ending);
            }
            eprintln!(
                "restart {restart} of {} from the last checkpoint",
                self.max_restarts
            );
            resume = true;
        }
        bail!("more restarts than can be counted")
    }

    /// When the run last wrote into its log, where it has one.
    fn logged(&self) -> Option<SystemTime> {
        fs::metadata(self.run.join("metrics.jsonl"))
            .and_then(|log| log.modified())
            .ok()
    }

    fn command(&self, resume: bool) -> Command {
        let mut command = self.ranks.command(&self.binary);
        command
            .arg(self.name)
            .arg("--recipe")
            .arg(&self.recipe)
            .arg("--run")
            .arg(&self.run);
        if self.device != Device::Flex {
            command.args(["--device", self.device.name()]);
        }
        for assignment in &self.set {
            command.args(["--set", assignment]);
        }
        if resume {
            command.arg("--resume");
        }
        if self.download {
            command.arg("--download");
        }
        if let Some(seconds) = self.ranks.watchdog {
            command.args(["--watchdog", &seconds.to_string()]);
        }
        command.env("BLIP2_HOME", &self.home);
        if env::var_os(PURGE_DELAY).is_none() {
            command.env(PURGE_DELAY, "1000");
        }
        command
    }
}

/// Builds the binary `name` for the CPU and returns where it is.
pub(crate) fn build(name: &str) -> Result<PathBuf> {
    let home = places::home(None)?;
    Ok(build_for(Device::Flex, &home, &[name], &[])?.join(name))
}

/// Builds the binaries `names` for `device`, with `features` beside, of the form `package/feature`, and returns the folder that they
/// lie in. The features are those of the whole workspace, as in tests: the tensor crates are compiled once for all.
pub(crate) fn build_for(device: Device, home: &Path, names: &[&str], features: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    let target = device.prepare(&mut command, home)?;
    eprintln!("building {} in {}", names.join(", "), target.display());
    command
        .args(["build", "--release", "--workspace"])
        .args(names.iter().flat_map(|name| ["--bin", name]))
        .args(device.features())
        .args(features.iter().flat_map(|feature| ["--features", feature]));
    let ending = process::run(&mut command, || ())?;
    if !ending.is_success() {
        bail!("{} does not build (cargo: {ending})", names.join(", "));
    }
    Ok(target.join("release"))
}

/// The cargo that runs us, at work in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(places::root());
    command
}

fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
