//! `cargo xtask load`: many clients at once against `blip2 serve`, and what becomes of them.

mod client;
mod hostile;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use client::{Client, Deed, Ending, Outcome};

use crate::served::Served;
use crate::{exit_code, launch};

/// What is served where nothing else is said: its texts may be of any length.
const MODEL: &str = "flant5-tiny";
/// Memory at the end over that after a fifth of the time: more is no noise.
const GROWTH: f64 = 1.2;

#[derive(Args)]
pub(crate) struct Load {
    /// Model to serve [default: the small one of the tests]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Picture that is asked about [default: one of the tests]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 200)]
    clients: usize,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 300)]
    seconds: u64,
    /// New tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_tokens: usize,
}

impl Load {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let binary = launch::build("blip2")?;
        let model = self.model.clone().unwrap_or_else(|| Served::small_model(MODEL));
        let picture = self
            .picture
            .clone()
            .unwrap_or_else(|| Served::small_model(MODEL).join("image1.png"));
        let bytes = std::fs::read(&picture).with_context(|| format!("cannot read {}", picture.display()))?;
        let picture = format!("data:image/png;base64,{}", STANDARD.encode(&bytes));
        // All clients come from one address.
        let server = Served::start(
            &binary,
            &model,
            &["--max-requests-per-client", "100000", "--name", client::MODEL],
        )?;
        println!(
            "{} clients for {} s against http://{}",
            self.clients, self.seconds, server.address
        );
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let outcomes = Mutex::new(Vec::new());
        let memory = thread::scope(|scope| {
            for number in 0..self.clients {
                let mut client = Client::new(server.address, number as u64, &picture, self.max_tokens);
                let outcomes = &outcomes;
                scope.spawn(move || {
                    while Instant::now() < end {
                        let outcome = client.act();
                        let rests = outcome.ending == Ending::Answered(503);
                        outcomes.lock().expect("no client panics").push(outcome);
                        if rests {
                            // As `Retry-After` asks.
                            thread::sleep(Duration::from_secs(1));
                        }
                    }
                });
            }
            self.watch(&server, end)
        })?;
        let outcomes = outcomes.into_inner().expect("no client panics");
        let ended = server.stop()?;
        let passed = report(&outcomes, &memory, self.seconds);
        println!(
            "{}",
            if ended {
                "the server ended when it was asked to"
            } else {
                "FAIL the server did not end well"
            }
        );
        Ok(exit_code(passed && ended))
    }

    /// Memory of the server, twenty times.
    fn watch(&self, server: &Served, end: Instant) -> Result<Vec<u64>> {
        let pause = Duration::from_secs_f64(self.seconds as f64 / 20.0);
        let mut memory = Vec::new();
        while Instant::now() + pause <= end {
            thread::sleep(pause);
            memory.push(server.memory()?);
        }
        Ok(memory)
    }
}

/// Prints what became of the clients; whether it is as it should be.
fn report(outcomes: &[Outcome], memory: &[u64], seconds: u64) -> bool {
    let mut passed = true;
    let mut fail = |reason: String| {
        println!("FAIL {reason}");
        passed = false;
    };
    println!(
        "\n{:<10} {:>7} {:>8} {:>8} {:>8} {:>8}",
        "deed", "ending", "count", "p50 s", "p99 s", "most s"
    );
    let mut groups: BTreeMap<(Deed, Ending), Vec<f64>> = BTreeMap::new();
    for outcome in outcomes {
        groups
            .entry((outcome.deed, outcome.ending))
            .or_default()
            .push(outcome.seconds);
    }
    for ((deed, ending), mut times) in groups.clone() {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        println!(
            "{:<10} {ending:>7} {:>8} {:>8.3} {:>8.3} {:>8.3}",
            format!("{deed:?}").to_lowercase(),
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    for ((deed, ending), times) in &groups {
        if !deed.expects(*ending) {
            fail(format!("{} times {deed:?} ended with: {ending}", times.len()));
        }
    }
    let count = |deed, ending| groups.get(&(deed, ending)).map_or(0, Vec::len);
    for (harm, count) in [
        (
            "pictures of a claimed size were refused",
            count(Deed::Bomb, Ending::Answered(400)),
        ),
        (
            "clients that read nothing were cut off",
            count(Deed::Deaf, Ending::CutOff),
        ),
    ] {
        println!("{count} {harm}");
        if count == 0 {
            fail(format!("no {harm}"));
        }
    }
    let good = outcomes
        .iter()
        .filter(|outcome| outcome.ending == Ending::Answered(200))
        .count();
    println!(
        "\n{good} good answers, {:.1} a second",
        good as f64 / seconds as f64
    );
    if good == 0 {
        fail("nothing was answered".to_owned());
    }
    let megabytes: Vec<String> = memory
        .iter()
        .map(|bytes| format!("{:.0}", *bytes as f64 / 1e6))
        .collect();
    println!("memory in MB over time: {}", megabytes.join(" "));
    if let (Some(early), Some(last)) = (memory.get(memory.len() / 5), memory.last())
        && *last as f64 > *early as f64 * GROWTH
    {
        fail(format!("memory grew from {early} to {last} bytes"));
    }
    passed
}
