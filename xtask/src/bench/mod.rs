//! `cargo xtask bench`: our work and PyTorch's, timed alternately in one run.
//!
//! Each side is a process that stays ([`contestant`]): it builds a workload of `benches/workloads.toml`, warms up, and
//! then runs it whenever it is asked, so that neither side is timed while the other one works.

mod catalogue;
mod contestant;
mod measure;
mod outcome;
mod peer;
mod scaling;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::catalogue::QWEN;
use crate::unit::Unit;
use crate::{assets, launch, places};
use catalogue::{Catalogue, Workload};
use contestant::Contestant;
use outcome::{Machine, Outcome, Record};
use peer::{Packages, Peer};

#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure, such as `stage1-step`, or the beginning of names, such as `ops` or `generate` [default: all]
    name: Vec<String>,
    /// Hold both sides to this unit of the processor [default: the best that it has]
    #[arg(long)]
    unit: Option<Unit>,
    /// Make the Python environment of the peer, and the files that both sides read; with --unit, llama.cpp of that unit
    #[arg(long)]
    setup: bool,
    /// Only the rows that say most about the others: some minutes
    #[arg(long, conflicts_with = "name")]
    quick: bool,
    /// Plot how the cost of the Q-Former grows with batch, text, image and threads
    #[arg(long, conflicts_with_all = ["name", "quick"])]
    scaling: bool,
    /// Print all that was measured so far as Markdown, a table for each unit, as it stands in docs/performance.md
    #[arg(long)]
    markdown: bool,
    /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let home = places::home(self.home)?;
        let records = places::root().join("target/bench");
        if self.setup {
            let unit = Unit::choose(self.unit)?;
            assets::ensure(&home)?;
            assets::ensure_joined(&home, &QWEN)?;
            Peer::set_up(&home, unit)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.markdown {
            print!("{}", markdown(&records, self.unit)?);
            return Ok(ExitCode::SUCCESS);
        }
        let unit = Unit::choose(self.unit)?;
        let record = Record::of(&records, unit);
        let catalogue = Catalogue::read(unit)?;
        let chosen = catalogue.choose(&self.name, self.quick)?;
        let sides = Sides {
            peer: Peer::found(&home, unit)?,
            ours: launch::build("blip2-bench")?,
            home,
            unit,
        };
        let machine = sides.machine()?;
        record.keep_machine(&machine)?;
        println!("{unit}: {}\n{}", machine.line(), table::head());
        if self.scaling {
            scaling::run(&sides, &machine, record.folder())?;
            return Ok(ExitCode::SUCCESS);
        }
        sides.measure(&chosen, &machine, &record)
    }
}

/// The tables of `unit`, or of all units that were measured.
fn markdown(records: &Path, unit: Option<Unit>) -> Result<String> {
    let asked = |&each: &Unit| unit.is_none_or(|unit| unit == each);
    let mut tables = Vec::new();
    for unit in Unit::ALL.into_iter().filter(asked) {
        let record = Record::of(records, unit);
        let outcomes = record.outcomes()?;
        if !outcomes.is_empty() {
            let comparisons = Catalogue::read(unit)?.comparisons(&outcomes);
            tables.push(table::markdown(unit, &record.machine()?, &outcomes, &comparisons));
        }
    }
    if tables.is_empty() {
        bail!("nothing was measured yet: measure first, with `cargo xtask bench`");
    }
    Ok(tables.join("\n"))
}

/// What it takes to start either side.
struct Sides {
    ours: PathBuf,
    peer: Peer,
    home: PathBuf,
    unit: Unit,
}

impl Sides {
    /// Measures each workload, also after one that failed, and keeps what came out.
    fn measure(&self, chosen: &[&Workload], machine: &Machine, record: &Record) -> Result<ExitCode> {
        // Operations share a peer: starting Python takes longer than timing them. All else gets a new one.
        let mut peer = None;
        let mut failed = 0;
        for workload in chosen {
            if !workload.shares_peer() {
                peer = None;
            }
            match self.outcome(workload, &mut peer, machine) {
                Ok(outcome) => {
                    println!("{}", table::line(&outcome));
                    record.keep(outcome)?;
                }
                Err(error) => {
                    eprintln!("{} FAILED: {error:#}", workload.name);
                    failed += 1;
                    peer = None;
                }
            }
        }
        println!("{}", places::shown(record.file()));
        Ok(match failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    /// Measures one workload, with `peer` where it runs already.
    fn outcome(
        &self,
        workload: &Workload,
        peer: &mut Option<Contestant>,
        machine: &Machine,
    ) -> Result<Outcome> {
        if workload.from_start {
            return measure::starts(self, workload, machine);
        }
        let peer = match peer {
            Some(peer) => peer,
            none => none.insert(self.peer(workload.peer, workload.threads)?),
        };
        measure::alternate(&mut self.ours(workload.threads)?, peer, workload, machine)
    }

    fn ours(&self, threads: usize) -> Result<Contestant> {
        let mut command = Command::new(&self.ours);
        self.unit.hold_ours(&mut command);
        self.start("ours", command, threads)
    }

    fn peer(&self, packages: Packages, threads: usize) -> Result<Contestant> {
        let mut command = self.peer.command(packages, self.unit)?;
        self.unit.hold_peer(&mut command);
        self.start("the peer", command, threads)
    }

    fn start(&self, name: &'static str, mut command: Command, threads: usize) -> Result<Contestant> {
        command.env("BLIP2_HOME", &self.home);
        for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, threads.to_string());
        }
        Contestant::start(name, command)
    }

    /// What this machine can do: at least what the better of both sides reaches.
    fn machine(&self) -> Result<Machine> {
        let measured = self
            .peer(Packages::Transformers, 2)?
            .ask(&json!({"open": {"kind": "machine"}}))?;
        let mut machine: Machine =
            serde_json::from_value(measured).context("the peer describes the machine in another way")?;
        machine.f32_per_s = machine.f32_per_s.max(self.product("f32")?);
        machine.bf16_per_s = machine.bf16_per_s.max(self.product("bf16")?);
        Ok(machine)
    }

    /// Operations a second of our own large matrix product: the fastest of some.
    fn product(&self, precision: &str) -> Result<f64> {
        const SIDE: u64 = 2048;
        const TIMES: usize = 20;
        let mut ours = self.ours(2)?;
        ours.open(&json!({
            "kind": "op",
            "op": "linear",
            "rows": SIDE,
            "inputs": SIDE,
            "outputs": SIDE,
            "precision": precision,
        }))?;
        let mut fastest = f64::INFINITY;
        for _ in 0..TIMES {
            fastest = ours.run(1)?.seconds.min(fastest);
        }
        Ok(2.0 * SIDE.pow(3) as f64 / fastest)
    }
}
