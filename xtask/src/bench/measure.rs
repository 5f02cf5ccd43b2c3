//! Timing both sides in turns.

use std::time::Instant;

use anyhow::Result;

use super::Sides;
use super::catalogue::Workload;
use super::contestant::{Contestant, Opened, Ran};
use super::outcome::{Machine, Outcome, Side};

/// One measurement of a short workload repeats it until this many seconds are over.
const SHORTEST: f64 = 0.06;

/// Rounds of a short workload for each of a long one: what else the machine does takes a larger part of them.
const SHORT_ROUNDS: usize = 3;

/// Times a workload on processes that stay.
pub(super) fn alternate(
    ours: &mut Contestant,
    peer: &mut Contestant,
    workload: &Workload,
    machine: &Machine,
) -> Result<Outcome> {
    let opened = ours.open(&workload.work)?;
    peer.open(&workload.peer_work)?;
    let mut times = [1, 1];
    let mut pair = [ours, peer];
    for (times, side) in times.iter_mut().zip(&mut pair) {
        *times = ((SHORTEST / side.run(1)?.seconds).ceil() as u64).clamp(1, 10_000);
    }
    let rounds = match times {
        [1, 1] => workload.repeats,
        _ => SHORT_ROUNDS * workload.repeats,
    };
    let (mut seconds, mut peaks) = ([Vec::new(), Vec::new()], [0, 0]);
    for round in 0..rounds {
        // Who begins changes from round to round.
        for side in [round % 2, 1 - round % 2] {
            let Ran {
                seconds: taken,
                peak_bytes,
            } = pair[side].run(times[side])?;
            seconds[side].push(taken / times[side] as f64);
            peaks[side] = peak_bytes;
        }
    }
    Ok(outcome(workload, machine, &opened, seconds, peaks))
}

/// Times a workload from the start of a new process each time.
pub(super) fn starts(sides: &Sides, workload: &Workload, machine: &Machine) -> Result<Outcome> {
    let (mut seconds, mut peaks) = ([Vec::new(), Vec::new()], [0, 0]);
    let mut ours = Opened::default();
    // The first start of either side reads its files from the disk.
    for round in 0..=workload.repeats {
        for side in [0, 1] {
            let start = Instant::now();
            let (mut process, work) = match side {
                0 => (sides.ours(workload.threads)?, &workload.work),
                _ => (sides.peer(workload.peer, workload.threads)?, &workload.peer_work),
            };
            let opened = process.open(work)?;
            let taken = start.elapsed().as_secs_f64();
            if side == 0 {
                ours = opened;
            }
            peaks[side] = process.run(0)?.peak_bytes;
            if round > 0 {
                seconds[side].push(taken);
            }
        }
    }
    Ok(outcome(workload, machine, &ours, seconds, peaks))
}

fn outcome(
    workload: &Workload,
    machine: &Machine,
    opened: &Opened,
    seconds: [Vec<f64>; 2],
    peaks: [u64; 2],
) -> Outcome {
    let [ours, peer] = [0, 1].map(|side| Side::of(&seconds[side], peaks[side]));
    Outcome {
        name: workload.name.clone(),
        ours_s: ours.median,
        peer_s: peer.median,
        ratio: peer.median / ours.median,
        goal: workload.goal,
        ours_spread: ours.spread,
        peer_spread: peer.spread,
        ours_peak_bytes: ours.peak_bytes,
        peer_peak_bytes: peer.peak_bytes,
        repeats: seconds[0].len(),
        threads: workload.threads,
        limit_s: machine.limit(&opened.phases),
        made: workload.made(),
    }
}
