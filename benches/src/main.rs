//! Our side of `cargo xtask bench`, on the device that its argument names, or else on the CPU. Each line of standard input is a request, each line of output its answer, both JSON:
//!
//! - `{"open": WORK}` builds a workload of `workloads.toml` and runs it once; answered with what the work needs at least
//! - `{"run": N}` runs it N times; answered with the seconds, and the peak memory since it was opened
//!
//! What goes wrong is answered with `{"error": TEXT}`. `peer/peer.py` answers the same requests with PyTorch.
#![allow(clippy::print_stdout, reason = "answers are written to the standard output")]

mod caption_folder;
mod captions;
mod decode;
mod encode;
mod frozen;
mod generate;
mod loader;
mod ops;
mod pixels;
mod process;
mod qformer;
mod retrieval;
mod serve;
mod stage1;
mod stage2;
mod workload;

use std::env;
use std::io::{Write, stdin, stdout};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use blip2_core::devices::Engine;
use burn::tensor::Device;
use serde::Deserialize;
use serde_json::{Value, json};

use workload::{Work, Workload};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Open(Work),
    Run(u64),
}

fn main() -> Result<()> {
    blip2_memory::keep_freed_memory();
    let engine = env::args().nth(1).map_or(Ok(Engine::Flex), |name| name.parse())?;
    let device = engine
        .open(0)
        .with_context(|| format!("{engine} cannot be used"))?;
    rayon::scope(|_| serve(&device))
}

/// Runs on a thread of the pool that kernels share their work in: from outside, each of them would wake it first.
fn serve(device: &Device) -> Result<()> {
    let mut open = None;
    for line in stdin().lines() {
        let answer =
            answer(&line?, &mut open, device).unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        let mut output = stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(line: &str, open: &mut Option<Workload>, device: &Device) -> Result<Value> {
    match serde_json::from_str(line)? {
        Request::Open(work) => {
            // What was open gives its memory back first.
            *open = None;
            process::forget_peak(device)?;
            let mut workload = work.open(device)?;
            (workload.run)()?;
            finish(device)?;
            let phases = json!({"phases": workload.phases});
            *open = Some(workload);
            Ok(phases)
        }
        Request::Run(times) => {
            let workload = open.as_mut().context("no workload is open")?;
            let start = Instant::now();
            for _ in 0..times {
                (workload.run)()?;
            }
            finish(device)?;
            let seconds = start.elapsed().as_secs_f64();
            Ok(json!({"seconds": seconds, "peak_bytes": process::peak_bytes(device)?}))
        }
    }
}

/// Waits for what a GPU was given to do.
fn finish(device: &Device) -> Result<()> {
    device
        .sync()
        .map_err(|error| anyhow!("the device fails: {error}"))
}
