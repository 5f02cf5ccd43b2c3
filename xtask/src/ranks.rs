//! Training by several processes: on this machine, or on others that mpirun reaches.

use std::path::Path;
use std::process::Command;
use std::{env, thread};

use clap::Args;

/// Built into the program where it is to be one of several processes.
pub(crate) const FEATURE: &str = "blip2-cli/mpi";
/// What processes on other machines need to be told: what every training run is given, and what a user may have set.
const GIVEN: [&str; 2] = ["BLIP2_HOME", "MIMALLOC_PURGE_DELAY"];
const SET: [&str; 2] = [THREADS, "RUST_LOG"];
const THREADS: &str = "RAYON_NUM_THREADS";

#[derive(Args, Default)]
pub(crate) struct Ranks {
    /// Train by so many processes, which mpirun starts: the number must divide `parts` of each stage
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ranks: Option<u32>,
    /// Where mpirun starts them [default: this machine]
    #[arg(long, value_name = "HOST:N,...")]
    hosts: Option<String>,
    /// Seconds without a word of another process after which the run ends
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) watchdog: Option<u64>,
}

impl Ranks {
    fn are_many(&self) -> bool {
        self.ranks.is_some_and(|ranks| ranks > 1) || self.hosts.is_some()
    }

    /// What the program has to be built with.
    pub(crate) fn features(&self) -> &'static [&'static str] {
        match self.are_many() {
            true => &[FEATURE],
            false => &[],
        }
    }

    /// Starts `program`: itself, or so many of it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        if !self.are_many() {
            return Command::new(program);
        }
        let mut command = mpirun();
        if let Some(ranks) = self.ranks {
            command.args(["-n", &ranks.to_string()]);
        }
        match (&self.hosts, self.ranks) {
            (Some(hosts), _) => {
                command.args(["--host", hosts]);
                let set = SET.into_iter().filter(|name| env::var_os(name).is_some());
                for name in GIVEN.into_iter().chain(set) {
                    command.args(["-x", name]);
                }
            }
            (None, Some(ranks)) if env::var_os(THREADS).is_none() => {
                let cores = thread::available_parallelism().map_or(1, usize::from);
                let threads = (cores / ranks as usize).max(1);
                command.env(THREADS, threads.to_string());
            }
            _ => {}
        }
        command.arg(program);
        command
    }
}

/// Open MPI's launcher, also where there are more processes than cores, and where root calls it, as in containers.
pub(crate) fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--bind-to", "none"]);
    if rustix::process::getuid().is_root() {
        command
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    command
}

/// Whether programs can be built with MPI and started by it here.
pub(crate) fn is_there() -> bool {
    ["mpicc", "mpirun"].into_iter().all(|program| {
        let asked = Command::new(program).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn one_process_needs_no_launcher() {
        for ranks in [None, Some(1)] {
            let alone = Ranks {
                ranks,
                hosts: None,
                watchdog: None,
            };
            assert!(alone.features().is_empty());
            assert_eq!(words(&alone.command(Path::new("blip2"))), ["blip2"]);
        }
    }

    #[test]
    fn several_are_started_here_or_elsewhere() {
        let here = Ranks {
            ranks: Some(4),
            hosts: None,
            watchdog: None,
        };
        assert_eq!(here.features(), [FEATURE]);
        let words_here = words(&here.command(Path::new("blip2")));
        assert_eq!(
            words_here[..4],
            ["mpirun", "--oversubscribe", "--bind-to", "none"]
        );
        assert_eq!(words_here[4..], ["-n", "4", "blip2"]);
        let elsewhere = Ranks {
            ranks: None,
            hosts: Some("a:2,b:2".to_owned()),
            watchdog: None,
        };
        let words = words(&elsewhere.command(Path::new("blip2"))).join(" ");
        assert!(words.contains("--host a:2,b:2 -x BLIP2_HOME"), "{words}");
        assert!(words.ends_with(" blip2"), "{words}");
    }
}
