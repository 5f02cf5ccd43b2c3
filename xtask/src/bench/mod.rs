//! `cargo xtask bench`: our work and PyTorch's, timed alternately in one run.
//!
//! Each side is a process that stays ([`contestant`]): it builds a workload of `benches/workloads.toml`, warms up, and
//! then runs it whenever it is asked, so that neither side is timed while the other one works.

mod catalogue;
mod contestant;
mod ground;
mod measure;
mod outcome;
mod peer;
mod ranks;
mod scaling;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::catalogue::QWEN;
use crate::device::Device;
use crate::unit::Unit;
use crate::{assets, launch, places};
use catalogue::Workload;
use contestant::Contestant;
use ground::Ground;
use outcome::{Machine, Outcome, Record};
use peer::{Packages, Peer};

/// Our side.
const OURS: &str = "blip2-bench";

#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure, such as `stage1-step`, or the beginning of names, such as `ops` or `generate` [default: all]
    name: Vec<String>,
    /// Hold both sides to this unit of the processor [default: the best that it has]
    #[arg(long)]
    unit: Option<Unit>,
    /// Where both sides compute; on a GPU, the workloads of benches/workloads-cuda.toml
    #[arg(long, value_enum, default_value_t = Device::Flex, conflicts_with_all = ["unit", "scaling", "setup"])]
    device: Device,
    /// Folder with our side of a program that was built elsewhere (`cargo xtask cuda`) [default: it is built]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Python of the peer, with its packages [default: what --setup makes]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Make the Python environment of the peer, and the files that both sides read; with --unit, llama.cpp of that unit
    #[arg(long)]
    setup: bool,
    /// Only the rows that say most about the others: some minutes
    #[arg(long, conflicts_with = "name")]
    quick: bool,
    /// Plot how the cost of the Q-Former grows with batch, text, image and threads
    #[arg(long, conflicts_with_all = ["name", "quick"])]
    scaling: bool,
    /// Train a little by so many processes with a core each and by one with a core, in turns, and print how much of so many times the
    /// pace they reach
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..),
        conflicts_with_all = ["name", "quick", "scaling", "setup", "unit", "device", "markdown"])]
    ranks: Option<u32>,
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
        if let Some(ranks) = self.ranks {
            return ranks::run(&home, &records, ranks);
        }
        if self.markdown {
            print!("{}", markdown(&records, self.unit)?);
            return Ok(ExitCode::SUCCESS);
        }
        let ground = match self.device {
            Device::Flex => Ground::Processor(Unit::choose(self.unit)?),
            device => Ground::Gpu(device),
        };
        let record = Record::of(&records, ground);
        let catalogue = ground.catalogue()?;
        let chosen = catalogue.choose(&self.name, self.quick)?;
        let sides = Sides {
            peer: match self.python {
                Some(python) => Peer::ready(&home, python),
                None => Peer::found(&home, ground.unit()?)?,
            },
            ours: match self.programs {
                Some(folder) => folder,
                None => launch::build_for(self.device, &home, &[OURS], &[])?,
            }
            .join(OURS),
            home,
            ground,
        };
        let machine = sides.machine()?;
        record.keep_machine(&machine)?;
        println!("{}: {}\n{}", ground.name(), machine.line(), table::head());
        if self.scaling {
            scaling::run(&sides, &machine, record.folder())?;
            return Ok(ExitCode::SUCCESS);
        }
        sides.measure(&chosen, &machine, &record)
    }
}

/// The tables of `unit`, or of all units and devices that were measured.
fn markdown(records: &Path, unit: Option<Unit>) -> Result<String> {
    let asked = |&each: &Unit| unit.is_none_or(|unit| unit == each);
    let units = Unit::ALL.into_iter().filter(asked).map(Ground::Processor);
    let gpus = [Device::Cuda, Device::Wgpu].map(Ground::Gpu);
    let mut tables = Vec::new();
    for ground in units.chain(gpus.into_iter().filter(|_| unit.is_none())) {
        let record = Record::of(records, ground);
        let outcomes = record.outcomes()?;
        if !outcomes.is_empty() {
            let comparisons = ground.catalogue()?.comparisons(&outcomes);
            tables.push(table::markdown(
                ground,
                &record.machine()?,
                &outcomes,
                &comparisons,
            ));
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
    ground: Ground,
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
        self.ground.hold_ours(&mut command);
        self.start("ours", command, threads)
    }

    fn peer(&self, packages: Packages, threads: usize) -> Result<Contestant> {
        let mut command = self.peer.command(packages, self.ground.unit()?)?;
        self.ground.hold_peer(&mut command);
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
        let side = self.ground.large_side();
        const TIMES: usize = 20;
        let mut ours = self.ours(2)?;
        ours.open(&json!({
            "kind": "op",
            "op": "linear",
            "rows": side,
            "inputs": side,
            "outputs": side,
            "precision": precision,
        }))?;
        let mut fastest = f64::INFINITY;
        for _ in 0..TIMES {
            fastest = ours.run(1)?.seconds.min(fastest);
        }
        Ok(2.0 * side.pow(3) as f64 / fastest)
    }
}
