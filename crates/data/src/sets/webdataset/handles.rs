//! Open files of the shards that are read at the moment: opening one for each sample would cost more than reading it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More than a window of shards and its successor, fewer than a process may open.
const MOST: usize = 64;

type Slot = Arc<Mutex<Option<Arc<File>>>>;

/// The files that were used last.
pub(super) struct Handles(Mutex<VecDeque<(usize, Slot)>>);

impl Handles {
    pub(super) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// The file of `shard`, opened by `open` where it is not open. Who opens another shard does not wait for it.
    ///
    /// # Errors
    /// Those of `open`; the next call tries again.
    pub(super) fn get(&self, shard: usize, open: impl FnOnce() -> Result<File>) -> Result<Arc<File>> {
        let slot = self.slot(shard);
        let mut file = held(&slot);
        if let Some(file) = &*file {
            return Ok(file.clone());
        }
        let opened = Arc::new(open()?);
        *file = Some(opened.clone());
        Ok(opened)
    }

    fn slot(&self, shard: usize) -> Slot {
        let mut slots = held(&self.0);
        let found = slots.iter().position(|(of, _)| *of == shard);
        let slot = match found.and_then(|place| slots.remove(place)) {
            Some((_, slot)) => slot,
            None => Slot::default(),
        };
        slots.push_back((shard, slot.clone()));
        if slots.len() > MOST {
            slots.pop_front();
        }
        slot
    }
}

/// What a thread left behind that panicked is a file or none: good to use.
fn held<Held>(lock: &Mutex<Held>) -> MutexGuard<'_, Held> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
