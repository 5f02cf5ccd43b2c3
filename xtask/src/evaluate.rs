//! Building the `blip2` binary and evaluating a model with it, again where it is killed: what was found by then is kept.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::launch::build;
use crate::{places, process};

#[derive(Args)]
pub(crate) struct Evaluate {
    /// Go on, so many times, when the run is killed
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_restarts: u32,
    /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Options of `blip2 evaluate`
    #[arg(last = true, value_name = "OPTION", required = true)]
    options: Vec<String>,
}

impl Evaluate {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let home = places::home(self.home.clone())?;
        let binary = build("blip2")?;
        process::persist(self.max_restarts, |_| {
            let mut command = Command::new(&binary);
            command
                .arg("evaluate")
                .args(&self.options)
                .env("BLIP2_HOME", &home);
            command
        })
    }
}
