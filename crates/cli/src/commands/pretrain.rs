//! `blip2 pretrain`

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use blip2::home;
use blip2_distributed::{Communicator, Launch, WATCHDOG, connect};
use blip2_trainer::{Observer, PretrainOptions, Recipe, RecipeFile};
use clap::Args;
use indicatif::ProgressBar;

use crate::device::DeviceChoice;
use crate::hub::fetch;
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/demo
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/small --set seed=3
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/demo --resume      after an interruption
  blip2 pretrain --recipe my.toml --run runs/my --set 'data.0.path=shards/{00000..00331}.tar'
  blip2 pretrain --recipe my.toml --run runs/my --download           fetches openai/clip-vit-large-patch14 and the like first
  mpirun -n 16 blip2 pretrain --recipe my.toml --run runs/my --set stage1.parts=16      built with MPI: docs/cluster.md

The run folder holds the resolved recipe, metrics.jsonl, checkpoints, TensorBoard events and the model; with the recipes of the\nembedded default, report.json and report.html.";

/// How often progress is written where no bar can be drawn.
const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pretrain {
    /// Recipe to train by
    #[arg(long, value_name = "FILE")]
    pub(super) recipe: PathBuf,
    /// Change one key of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(super) set: Vec<String>,
    /// Run folder to write
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Continue the run in the run folder from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Where to compute; of several GPUs, each process on a machine takes one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Fetch first what the cache lacks of the models that the recipe calls by their names on the hub, as `blip2 pull` does
    #[arg(long)]
    download: bool,
    /// Seconds without a word of another process after which the run ends, where it has several
    #[arg(long, value_name = "SECONDS", default_value_t = WATCHDOG.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    watchdog: u64,
}

fn assignment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

impl Pretrain {
    pub(crate) fn run(self) -> Result<()> {
        blip2_memory::keep_freed_memory();
        let launch = Launch::from_environment()?;
        let number = launch.and_then(|launch| launch.local_rank).unwrap_or(0);
        let gpu = (self.device == DeviceChoice::Cuda).then_some(number);
        let ranks = connect(Duration::from_secs(self.watchdog), gpu)?;
        let outcome = self.train(&ranks, number);
        if let (Err(error), false) = (&outcome, ranks.is_alone()) {
            // The others would wait for this one.
            output::warn(format_args!(
                "rank {} of {} has failed",
                ranks.rank(),
                ranks.size()
            ));
            output::report(error);
            ranks.abort();
        }
        outcome
    }

    /// On the device of this `number`.
    fn train(self, ranks: &Communicator, number: usize) -> Result<()> {
        let display = Display::new();
        let observer: &dyn Observer = match ranks.is_first() {
            true => &display,
            false => &Silent,
        };
        let home = home()?;
        let device = self.device.open_one_of_several(number)?;
        if self.download {
            if ranks.is_first() {
                self.fetch_models(&home)?;
            }
            ranks.barrier("models of the hub")?;
        }
        let options = PretrainOptions {
            registry: blip2_mini::registry(),
            formats: blip2_mini::formats(&home),
            recipe: self.recipe,
            overrides: self.set,
            run: self.run,
            resume: self.resume,
            home,
            device,
        };
        let result = match blip2_mini::is_recipe(&options.recipe) {
            true => blip2_mini::pretrain(options, ranks, observer).map_err(anyhow::Error::from),
            false => blip2_trainer::pretrain(options, ranks, observer).map_err(anyhow::Error::from),
        };
        display.bar.borrow().finish_and_clear();
        result
    }
}

impl Pretrain {
    /// What the recipe calls by a name on the hub: neither a path that exists nor one below `home`.
    fn fetch_models(&self, home: &Path) -> Result<()> {
        if blip2_mini::is_recipe(&self.recipe) {
            bail!("a recipe of the embedded default names no model of the hub: leave out --download");
        }
        let recipe = Recipe::read(&self.recipe, &self.set)?;
        let named = recipe
            .models()
            .into_iter()
            .filter(|path| !path.exists() && !home.join(path).exists());
        let names: BTreeSet<&str> = named.filter_map(blip2_hub::hub_name).collect();
        if names.is_empty() {
            bail!(
                "the recipe names no model of the hub that is not there as a file or folder: leave out --download"
            );
        }
        names.into_iter().try_for_each(|name| fetch(name, None).map(drop))
    }
}

/// What all ranks but the first tell.
struct Silent;

impl Observer for Silent {
    fn phase(&self, _: &str, _: u64) {}
    fn step(&self, _: u64, _: &str) {}
    fn note(&self, _: &str) {}
}

/// A bar a phase on a terminal; elsewhere a line now and then.
struct Display {
    bar: RefCell<ProgressBar>,
    phase: RefCell<String>,
    last: Cell<Instant>,
}

impl Display {
    fn new() -> Self {
        Self {
            bar: ProgressBar::hidden().into(),
            phase: RefCell::default(),
            last: Cell::new(Instant::now()),
        }
    }
}

impl Observer for Display {
    fn phase(&self, name: &str, total_steps: u64) {
        self.bar.borrow().finish_and_clear();
        let bar = progress::bar(total_steps, name);
        if bar.is_hidden() {
            output::warn(format_args!("{name}: {total_steps} steps"));
        }
        self.phase.replace(name.to_owned());
        self.last.set(Instant::now());
        self.bar.replace(bar);
    }

    fn step(&self, step: u64, line: &str) {
        let bar = self.bar.borrow();
        bar.set_position(step);
        bar.set_message(line.to_owned());
        if bar.is_hidden() && self.last.get().elapsed() >= INTERVAL {
            self.last.set(Instant::now());
            let (phase, total) = (self.phase.borrow(), bar.length().unwrap_or(step));
            output::warn(format_args!(
                "{phase}: step {step} of {total}, {:.0?} left, {line}",
                bar.eta()
            ));
        }
    }

    fn note(&self, line: &str) {
        self.bar.borrow().suspend(|| output::warn(line));
    }
}
