//! Building the `blip2` binary and filtering captions with it by a recipe, again where it is killed.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::launch::build;
use crate::{assets, places, process};

#[derive(Args)]
pub(crate) struct Capfilt {
    /// Recipe with a table `[capfilt]` and a `[[data]]` entry
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Folder to write [default: runs/ and the name of the recipe]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with what is in that folder
    #[arg(long)]
    resume: bool,
    /// Go on, so many times, when the run is killed
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_restarts: u32,
    /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Neither fetch nor verify the assets first
    #[arg(long)]
    no_assets: bool,
    /// Further options of `blip2 capfilt`
    #[arg(last = true, value_name = "OPTION")]
    further: Vec<String>,
}

impl Capfilt {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if !self.recipe.is_file() {
            bail!("there is no recipe {}", places::shown(&self.recipe));
        }
        let out = match &self.out {
            Some(out) => out.clone(),
            None => places::root()
                .join("runs")
                .join(self.recipe.file_stem().context("the recipe has no name")?),
        };
        let home = places::home(self.home.clone())?;
        if !self.no_assets {
            assets::ensure(&home)?;
        }
        let binary = build("blip2")?;
        process::persist(self.max_restarts, |again| {
            self.command((&binary, &out, &home), self.resume || again)
        })
    }

    fn command(&self, (binary, out, home): (&PathBuf, &PathBuf, &PathBuf), resume: bool) -> Command {
        let mut command = Command::new(binary);
        command.arg("capfilt").arg("--recipe").arg(&self.recipe);
        command.arg("--out").arg(out).args(&self.further);
        if resume {
            command.arg("--resume");
        }
        command.env("BLIP2_HOME", home);
        command
    }
}
