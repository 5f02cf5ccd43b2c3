//! From a mixture of data sets to batches: samples are read, decoded and augmented by other threads while the model works.
//!
//! What a batch holds is a function of the seed and of its position in the run. Neither the number of threads nor which of
//! them was faster changes a bit of it.

mod error;
mod prepare;
mod row;
mod skipped;
mod transform;
mod workers;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::DataLoaderError;
pub use row::{Batch, Row};
pub use skipped::Skipped;
pub use transform::{TrainView, Transform};

use crate::mixture::Mixture;
use crate::sets::Severity;
use prepare::Prepare;
use skipped::Ledger;
use workers::Workers;

/// How a run reads its data.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Rows of a global batch, those of all processes together.
    pub batch: u64,
    /// Which rows of each global batch are read here; all of them in a run of one process.
    pub rows: Range<u64>,
    /// Threads that read and decode.
    pub threads: usize,
    /// Batches that may wait, or be in work, besides the one that is asked for.
    pub ahead: u64,
    /// The share of samples that may be damaged, of those seen since the run began; the first thousand count as if they had
    /// been seen already.
    pub max_skipped: f64,
    /// Where each damaged sample gets a line; absent: they are only counted.
    pub skipped: Option<PathBuf>,
}

impl LoaderOptions {
    /// All rows of batches of `batch`, read by as many threads as there are cores, two batches ahead; 5% may be damaged.
    pub fn new(batch: u64) -> Self {
        Self {
            batch,
            rows: 0..batch,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ahead: 2,
            max_skipped: 0.05,
            skipped: None,
        }
    }
}

/// Batches one after the other, prepared ahead of their use.
pub struct DataLoader {
    mixture: Arc<Mixture>,
    batch: u64,
    rows: u64,
    position: u64,
    waited: Duration,
    ledger: Ledger,
    workers: Workers,
}

impl DataLoader {
    /// Batches of `mixture`, each picture by way of `transform`, beginning at `position` of the run:
    /// [`Mixture::resume`] or 0.
    ///
    /// # Errors
    /// If no batch can be formed, or the list of damaged samples not be written.
    pub fn new(
        mixture: Arc<Mixture>,
        transform: Arc<dyn Transform>,
        options: &LoaderOptions,
        position: u64,
    ) -> Result<Self, DataLoaderError> {
        let LoaderOptions { batch, rows, .. } = options;
        if rows.is_empty() || rows.end > *batch {
            return Err(DataLoaderError::Rows {
                batch: *batch,
                rows: rows.clone(),
            });
        }
        tell_what_is_left_out(&mixture);
        let count = rows.end - rows.start;
        let ledger = Ledger::open(options, position)?;
        let prepare = Prepare {
            mixture: mixture.clone(),
            transform,
        };
        let (first, batch) = (position + rows.start, *batch);
        let prepare = move |job: u64| prepare.row(first + job / count * batch + job % count);
        let ahead = options.ahead.saturating_add(1).saturating_mul(count);
        Ok(Self {
            workers: Workers::start(options.threads, ahead, prepare),
            mixture,
            batch,
            rows: count,
            position,
            waited: Duration::ZERO,
            ledger,
        })
    }

    /// The next batch. Batches go over the end of an epoch: there is no incomplete one, and nothing is left out.
    ///
    /// # Errors
    /// If more samples were damaged than may be, or so many of a set that none could take the place of another.
    pub fn next_batch(&mut self) -> Result<Batch, DataLoaderError> {
        let asked = Instant::now();
        let mut rows = Vec::with_capacity(self.rows as usize);
        for _ in 0..self.rows {
            let prepared = self.workers.next();
            self.ledger.note(&prepared.skipped)?;
            rows.push(
                prepared
                    .row
                    .ok_or_else(|| self.ledger.nothing_left(&prepared.skipped))?,
            );
        }
        self.ledger.count(self.rows)?;
        self.waited = asked.elapsed();
        let position = self.position;
        self.position += self.batch;
        Ok(Batch { position, rows })
    }

    /// The position with which the next batch begins, for [`Mixture::progress`].
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How long the last batch was waited for: near zero where reading keeps up with the model (`data_wait`).
    pub fn data_wait(&self) -> Duration {
        self.waited
    }

    /// How many samples were damaged since the run began, by set and reason.
    pub fn skipped(&self) -> Vec<(&str, &str, u64)> {
        self.ledger.counts()
    }

    /// What is read.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }
}

/// Logs, by set and reason, what is not even asked for because it was left out when the sets were opened.
fn tell_what_is_left_out(mixture: &Mixture) {
    for part in mixture.parts() {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for report in part.set.reports() {
            if report.severity != Severity::Warning {
                *counts.entry(report.reason).or_default() += 1;
            }
        }
        for (reason, count) in counts {
            tracing::warn!(
                set = part.set.name(),
                reason,
                count,
                "left out when the data set was opened"
            );
        }
    }
}
