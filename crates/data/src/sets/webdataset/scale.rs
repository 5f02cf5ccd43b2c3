//! That the largest data sets can be planned: shards without content, with the indexes that they would have.

use std::fs::File;
use std::time::Instant;

use super::index::Draft;
use super::place::Place;
use super::{Rules, WebDataset};
use crate::order::{Order, WINDOW};
use crate::sets::{Cache, Dataset};

/// Samples of a shard, as img2dataset writes them, and bytes of a sample.
const SAMPLES: u64 = 10_000;
const BYTES: u64 = 50 << 10;

/// Memory of this process that is backed by no file, in bytes.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// Opens a set of so many shards, and asks for samples all over three epochs.
fn plan(shards: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path().join("cache"), 0);
    let rules = Rules::default();
    let draft = Draft {
        samples: (0..SAMPLES)
            .map(|sample| [sample * BYTES, (sample + 1) * BYTES])
            .collect(),
        ..Draft::default()
    };
    for shard in 0..shards {
        let path = folder.path().join(format!("{shard:05}.tar"));
        // It has no blocks on disk.
        File::create(&path)
            .and_then(|file| file.set_len(SAMPLES * BYTES))
            .expect("a shard");
        let place = Place::local(&path).expect("a path");
        let stamp = place.stamp().expect("a shard");
        let path = super::index_path(&cache, &place, rules);
        cache
            .put(&path, |file| draft.write(stamp, file))
            .expect("an index");
    }
    let (before, begun) = (own_memory(), Instant::now());
    let path = folder.path().join(format!("{{00000..{:05}}}.tar", shards - 1));
    let set = WebDataset::open("plan", &path.to_string_lossy(), cache, rules).expect("a data set");
    let order = Order::new(1, &set.runs(), WINDOW);
    assert_eq!(order.len(), shards * SAMPLES);
    for step in 0..10_000 {
        let position = step * 999_983;
        let index = order.index(position / order.len(), position % order.len());
        let shard = set.before.partition_point(|before| *before <= index) - 1;
        let within = index - set.before[shard];
        let place = set.shards[shard].index.place(within as usize);
        assert_eq!(place, [within * BYTES, (within + 1) * BYTES]);
    }
    let (taken, seconds) = (own_memory().saturating_sub(before), begun.elapsed().as_secs_f64());
    tracing::info!(samples = order.len(), taken, seconds, "planned");
    assert!(taken < (16 << 20) + shards * 1024, "{taken} bytes were taken");
    assert!(seconds < 60.0, "{seconds}");
}

#[test]
fn a_million_samples_can_be_planned() {
    plan(100);
}

/// 1.6 GB of indexes in the temporary folder:
/// `cargo test --release -p blip2-data --lib -- --ignored a_hundred_million`.
#[test]
#[ignore = "writes 1.6 GB"]
fn a_hundred_million_samples_can_be_planned() {
    plan(10_000);
}
