//! `blip2 pretrain`

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use blip2::home;
use blip2_mini::{PretrainOptions, pretrain};
use blip2_trainer::Observer;
use clap::Args;
use indicatif::ProgressBar;

use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/demo
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/small --set seed=3
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/demo --resume      after an interruption

The run folder holds the resolved recipe, metrics.jsonl, checkpoints, the model, report.json and report.html.";

/// How often progress is written where no bar can be drawn.
const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pretrain {
    /// Recipe to train by
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Change one key of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<String>,
    /// Run folder to write
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Continue the run in the run folder from its last checkpoint
    #[arg(long)]
    resume: bool,
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
        let display = Display::new();
        let options = PretrainOptions {
            recipe: self.recipe,
            overrides: self.set,
            run: self.run,
            resume: self.resume,
            home: home()?,
        };
        let result = pretrain(options, &display);
        display.bar.borrow().finish_and_clear();
        Ok(result?)
    }
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
