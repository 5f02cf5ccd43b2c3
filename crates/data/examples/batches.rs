//! Reads batches of training views from data sets, and says how fast.
//!
//! ```text
//! cargo run --release -p blip2-data --example batches -- CACHE 'webdataset:shards/{00000..00009}.tar' coco:captions.json#images=train2014
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blip2_data::loader::{DataLoader, LoaderOptions, TrainView};
use blip2_data::mixture::{Mixing, Mixture, Part};
use blip2_data::pixels::ImageProcessor;
use blip2_data::sets::{Cache, DataSpec, OpenOptions, open};

const SIDE: u32 = 224;
const BATCH: u64 = 64;
const BATCHES: u32 = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let mut output = std::io::stdout();
    let mut arguments = std::env::args().skip(1);
    let cache = arguments
        .next()
        .ok_or("name a folder for indexes, then data sets")?;
    let options = OpenOptions {
        cache: Some(Cache::new(cache, 20 << 30)),
        ..OpenOptions::default()
    };
    let mut parts = Vec::new();
    for line in arguments {
        let spec: DataSpec = line.parse()?;
        let set = open(&spec, &options)?;
        writeln!(output, "{line}: {} samples", set.len())?;
        parts.push(Part::new(set.into()));
    }
    let mixture = Arc::new(Mixture::new(parts, Mixing::new(1))?);
    let settings = LoaderOptions::new(BATCH);
    let mut loader = DataLoader::new(mixture, Arc::new(TrainView::pretraining(SIDE)), &settings, 0)?;
    let processor = ImageProcessor::clip_square(SIDE);
    let (begun, mut waited) = (Instant::now(), Duration::ZERO);
    for _ in 0..BATCHES {
        let batch = loader.next_batch()?;
        waited += loader.data_wait();
        std::hint::black_box(batch.pixels(&processor));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let pictures = f64::from(BATCHES) * BATCH as f64;
    writeln!(
        output,
        "{:.0} pictures a second, {} threads, {waited:.2?} of {seconds:.2} s waited",
        pictures / seconds,
        settings.threads
    )?;
    for (set, reason, count) in loader.skipped() {
        writeln!(output, "{count} {reason} in {set}")?;
    }
    writeln!(
        output,
        "a run would go on with {:?}",
        loader.mixture().progress(loader.position())
    )?;
    Ok(())
}
