//! `cargo xtask`: the commands of this repository that are not the program itself. It fetches what the demo needs,
//! builds, launches and supervises the `blip2` binary, and runs the checks of CI. It knows nothing of tensors, so it
//! compiles in seconds.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to people"
)]

mod archive;
mod assembly;
mod assets;
mod bench;
mod capfilt;
mod catalogue;
mod checks;
mod clients;
mod comparison;
mod cuda;
mod device;
mod easy_vqa;
mod emulate;
mod environment;
mod evaluate;
mod evidence;
mod launch;
mod load;
mod openai;
mod package;
mod parity;
mod photographs;
mod places;
mod plan;
mod process;
mod python;
mod ranks;
mod report;
mod served;
mod tidy;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Fetches, builds, launches, supervises and checks.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch and verify the models and pictures that the demo needs
    Assets {
        /// Fetch this, too: qwen2.5-coder-0.5b, a language model of 0.5 GB; gemma-3-270m, one of 0.25 GB under Google's Gemma terms
        /// of use; photographs, 500 of them with captions as webdataset shards, from two packages of Debian 12; easy-vqa, 48,248
        /// questions about pictures of shapes
        #[arg(long, value_name = "NAME", value_parser = assets::optional)]
        with: Vec<assets::Optional>,
        /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
        #[arg(long, value_name = "DIR")]
        home: Option<PathBuf>,
    },
    /// Read back what the compiler made of our kernels: no calls in hot loops, no sums in memory
    Assembly {
        /// A program built with optimisation [default: blip2, which is built first]
        program: Option<PathBuf>,
    },
    /// Run the tests of the kernels on emulated processors: one with AVX2, one with SSE2 alone, two Arms; check all types for Arm
    Emulate,
    /// All that CI runs: assets, formatting, tidiness, lints, tests, documentation, packages, several processes, clients, the wheel, the page,
    /// the kernels' assembly, overflow checks, the types of the CUDA build; what cannot be run here is skipped with a word
    Test {
        /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
        #[arg(long, value_name = "DIR")]
        home: Option<PathBuf>,
    },
    /// Time our operations, models and steps and PyTorch's in turns, and print how they compare
    Bench(bench::Bench),
    /// Compare with the reference implementations: a line a comparison, and what was left out
    Parity(parity::Parity),
    /// Train both stages on real pictures in minutes and print what was learned
    Demo(launch::Demo),
    /// Print all figures of a finished run as Markdown, as they stand in docs/; of several runs of the demo, their summaries
    /// side by side and what they show
    Figures {
        /// Run folders, such as runs/long
        #[arg(required = true)]
        runs: Vec<PathBuf>,
    },
    /// Train by a recipe, restarting a run that is killed
    Pretrain(launch::Pretrain),
    /// Train a model further for a task by a recipe, restarting a run that is killed
    Finetune(launch::Pretrain),
    /// Write captions for a data set by a recipe and keep the best of these and its own
    Capfilt(capfilt::Capfilt),
    /// Measure how well a model answers, captions or retrieves on a data set, going on where it is killed
    Evaluate(evaluate::Evaluate),
    /// Let many clients ask `blip2 serve` at once, and print how they fare: statuses, times, memory
    Load(load::Load),
    /// Build the program for NVIDIA GPUs, also where there is none, and pack it to be carried to one
    Cuda(cuda::Cuda),
    /// Pack every crate that is published, and check the packages side by side as a stranger has them
    Package,
    /// Ask a claim of the paper in the small with several seeds, and write what came out into docs/evidence.md; without a name,
    /// list the claims
    Reproduce(evidence::Reproduce),
    /// What a recipe costs on so many devices: steps, operations, memory, network, hours
    Plan(plan::Plan),
}

/// The code to end with after checks that have all passed, or not.
fn exit_code(passed: bool) -> ExitCode {
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Assets { with, home } => places::home(home).and_then(|home| {
            assets::ensure(&home)?;
            for optional in with {
                optional.ensure(&home)?;
            }
            Ok(ExitCode::SUCCESS)
        }),
        Command::Assembly { program } => assembly::run(program).map(exit_code),
        Command::Emulate => emulate::run().map(exit_code),
        Command::Test { home } => places::home(home).and_then(|home| checks::run(&home)),
        Command::Bench(bench) => bench.run(),
        Command::Parity(parity) => parity.run(),
        Command::Figures { runs } => match &runs[..] {
            [run] => report::markdown(run),
            several => comparison::markdown(several),
        }
        .map(|page| {
            print!("{page}");
            ExitCode::SUCCESS
        }),
        Command::Demo(demo) => demo.run(),
        Command::Pretrain(pretrain) => pretrain.run(launch::PRETRAIN),
        Command::Finetune(finetune) => finetune.run("finetune"),
        Command::Capfilt(capfilt) => capfilt.run(),
        Command::Evaluate(evaluate) => evaluate.run(),
        Command::Load(load) => load.run(),
        Command::Cuda(cuda) => cuda.run(),
        Command::Package => places::target()
            .and_then(|target| package::run(&target))
            .map(exit_code),
        Command::Reproduce(reproduce) => reproduce.run(),
        Command::Plan(plan) => plan.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        match error.downcast_ref::<process::Stopped>() {
            Some(stopped) => process::Ending::Signal(stopped.signal).exit_code(),
            None => ExitCode::FAILURE,
        }
    })
}
