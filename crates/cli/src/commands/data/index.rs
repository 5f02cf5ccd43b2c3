//! `blip2 data index`

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::sets;
use crate::{output, progress};

/// Opens data sets, which keeps their indices in $BLIP2_HOME/data where their format has any.
#[derive(Args)]
pub(crate) struct Index {
    /// The data set: `format:path#key=value,...`, or a TOML file with [[data]] entries
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'set> {
    name: &'set str,
    samples: u64,
    runs: usize,
    left_out: usize,
    fingerprint: String,
    seconds: f64,
}

impl Index {
    pub(crate) fn run(self) -> Result<()> {
        let spinner = progress::spinner("indexing");
        let mut start = Instant::now();
        for opened in sets(&self.spec, true)? {
            let (_, set) = opened?;
            let record = Record {
                name: set.name(),
                samples: set.len(),
                runs: set.runs().len(),
                left_out: set.reports().len(),
                fingerprint: set.fingerprint(),
                seconds: start.elapsed().as_secs_f64(),
            };
            start = Instant::now();
            spinner.suspend(|| {
                if self.json {
                    output::json(&record)
                } else {
                    output::line(format_args!(
                        "{}: {} samples in {} runs, {} left out, {}, {:.1} s",
                        record.name,
                        record.samples,
                        record.runs,
                        record.left_out,
                        record.fingerprint,
                        record.seconds
                    ))
                }
            })?;
        }
        spinner.finish_and_clear();
        Ok(())
    }
}
