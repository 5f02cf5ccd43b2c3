//! The program `blip2`: trains BLIP-2 and asks what was trained.
//!
//! Exit code 0 on success, 1 on failure with the chain of causes on stderr, 2 on wrong usage.

mod commands;
mod device;
mod exclusive;
mod failures;
mod generation;
mod hub;
mod hyphens;
mod model;
mod output;
mod part;
mod pictures;
mod progress;
mod safety;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use crate::commands::Command;

const EXAMPLES: &str = "\
Examples:
  blip2 doctor                                               is everything in place?
  blip2 pretrain --recipe recipes/mini/demo.toml --run runs/demo
  blip2 caption --model runs/demo picture.png
  blip2 ask --model runs/demo picture.png 'what is above the bicycle?'

Frozen models and pictures are kept in $BLIP2_HOME, or else in `blip2` in your cache folder.";

/// Bootstrapped language-image pre-training with frozen image encoders and language models
#[derive(Parser)]
#[command(name = "blip2", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    /// Say more on stderr; twice for details
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(hyphens::tied(&mut Arguments::command(), env::args_os()));
    log_to_stderr(arguments.verbose);
    match arguments.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough: `blip2 inspect model | head`.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Ends the program as the parser of `subcommand` does, for what the parser cannot see.
fn wrong_usage(subcommand: &str, problem: &str) -> ! {
    let mut program = Arguments::command();
    program.build();
    let command = program
        .find_subcommand_mut(subcommand)
        .expect("each command names itself");
    command.error(ErrorKind::ArgumentConflict, problem).exit()
}

/// `RUST_LOG`, where it is set, has the last word.
fn log_to_stderr(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let usual = || EnvFilter::new(format!("{level},{}=info", device::CHOICE));
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| usual()))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
