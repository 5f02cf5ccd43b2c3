//! How cost grows with the batch, the text, the image and the threads: one pass of the Q-Former, ours and the peer's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blip2_report::{LossCurve, plot};
use serde_json::json;

use super::catalogue::Workload;
use super::outcome::Machine;
use super::peer::Packages;
use super::{Sides, table};
use crate::places;

/// One plot: what grows, and how far.
struct Growth {
    name: &'static str,
    sizes: &'static [u64],
    /// Batch, image tokens and text tokens at one size.
    work: fn(u64) -> [u64; 3],
}

const GROWTHS: [Growth; 3] = [
    Growth {
        name: "batch",
        sizes: &[1, 2, 4, 8, 16, 32, 64],
        work: |batch| [batch, 257, 16],
    },
    Growth {
        name: "text-tokens",
        sizes: &[8, 16, 32, 64, 128],
        work: |tokens| [4, 257, tokens],
    },
    Growth {
        name: "image-tokens",
        sizes: &[257, 442, 677, 1226],
        work: |tokens| [4, tokens, 16],
    },
];

/// Measures every size with one thread and with two, and writes a plot of seconds for each growth into `folder`.
pub(super) fn run(sides: &Sides, machine: &Machine, folder: &Path) -> Result<()> {
    for growth in &GROWTHS {
        let mut curves = Vec::new();
        for threads in [1, 2] {
            let [mut ours, mut peer] = ["ours", "PyTorch"].map(|side| LossCurve {
                name: match threads {
                    1 => format!("{side}, 1 thread"),
                    _ => format!("{side}, {threads} threads"),
                },
                phase: format!("seconds by {}", growth.name),
                ..LossCurve::default()
            });
            let mut process = None;
            for &size in growth.sizes {
                let outcome = sides.outcome(&workload(growth, size, threads), &mut process, machine)?;
                println!("{}", table::line(&outcome));
                ours.points.push((size, outcome.ours_s));
                peer.points.push((size, outcome.peer_s));
            }
            curves.extend([ours, peer]);
        }
        let file = folder.join(format!("growth-{}.svg", growth.name));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, plot(&curves)))
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", places::shown(&file));
    }
    Ok(())
}

fn workload(growth: &Growth, size: u64, threads: usize) -> Workload {
    let [batch, image_tokens, text_tokens] = (growth.work)(size);
    let work = json!({
        "kind": "qformer",
        "batch": batch,
        "image_tokens": image_tokens,
        "image_width": 1024,
        "text_tokens": text_tokens,
    });
    Workload {
        name: format!("{} {size}, threads {threads}", growth.name),
        goal: None,
        goal_avx2: None,
        no_slower_than: None,
        quick: false,
        repeats: 3,
        threads,
        peer: Packages::Lavis,
        paced_by: None,
        from_start: false,
        peer_work: work.clone(),
        work,
    }
}
