//! Ranks as processes that an MPI library connects: every call of MPI in the house.
//!
//! All calls are of the kind that does not block, and are asked now and then whether they are done: so the watchdog's time holds
//! where a process is stopped, which MPI itself does not notice. MPI cannot take back what was begun; when the time is over, the
//! job ends.

use std::time::{Duration, Instant};

pub use ferrompi::Mpi as Library;
use ferrompi::{Communicator, Request, ThreadLevel};

use crate::{Engine, EngineError, Header, Wait};

/// How long a wait costs a core before it costs latency.
const EAGER: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_micros(200);

/// What messages between two ranks are: of a header, of numbers to add up, of sums.
const HEADERS: i32 = 0;
const SHARES: i32 = 1;
const SUMS: i32 = 2;

/// One of the processes that mpirun or srun started.
pub struct Mpi {
    world: Communicator,
}

/// Starts the library, once a process. It ends with what is returned beside the ranks, on the thread that called this.
///
/// # Errors
/// What the library says.
pub fn start() -> Result<(Mpi, Library), String> {
    let library = Library::init_thread(ThreadLevel::Serialized).map_err(|error| error.to_string())?;
    let world = library.world();
    Ok((Mpi { world }, library))
}

impl Mpi {
    /// Asks requests until all are done. `of` says which rank each waits for, where it waits for one.
    fn complete(
        &self,
        requests: &mut [(Option<usize>, Request<'_>)],
        wait: &Wait<'_>,
    ) -> ferrompi::Result<()> {
        let begun = Instant::now();
        loop {
            let mut pending = false;
            for (_, request) in requests.iter_mut().filter(|(_, request)| !request.is_completed()) {
                pending |= request.test()?.is_none();
            }
            if !pending {
                return Ok(());
            }
            let waited = begun.elapsed();
            if waited > wait.limit {
                let silent = requests.iter().filter(|(_, request)| !request.is_completed());
                let ranks = silent.filter_map(|(rank, _)| *rank).collect();
                tracing::error!("{}: {}", wait.doing, EngineError::Silent { waited, ranks });
                self.world.abort(1);
            }
            match waited < EAGER {
                true => std::thread::yield_now(),
                false => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The others would be waited for, and wait.
            self.world.abort(101);
        }
    }
}

fn failed(error: ferrompi::Error) -> EngineError {
    EngineError::Transport(error.to_string())
}

/// Counts and places as MPI has them.
fn places(lengths: &[usize]) -> Result<(Vec<i32>, Vec<i32>), EngineError> {
    let mut at = 0_usize;
    let number = |value: usize| {
        i32::try_from(value).map_err(|_| {
            EngineError::Transport(format!(
                "{value} bytes at once are more than MPI counts: make parts smaller"
            ))
        })
    };
    let mut counts = (Vec::new(), Vec::new());
    for length in lengths {
        counts.0.push(number(*length)?);
        counts.1.push(number(at)?);
        at += length;
    }
    Ok(counts)
}

impl Engine for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    /// From each to each, so that the rank is known that is not there.
    fn meet(&self, header: &Header, wait: &Wait<'_>) -> Result<Vec<Header>, EngineError> {
        let mut headers = vec![*header; self.size()];
        let own = self.rank();
        ferrompi::scope(|scope| {
            let mut requests = Vec::new();
            let others = headers.iter_mut().enumerate().filter(|(rank, _)| *rank != own);
            for (rank, theirs) in others {
                let source = rank as i32;
                let receiving = self.world.irecv(scope, &mut theirs[..], source, HEADERS)?;
                requests.push((Some(rank), receiving));
                let sending = self.world.isend(scope, &header[..], source, HEADERS)?;
                requests.push((Some(rank), sending));
            }
            self.complete(&mut requests, wait)
        })
        .map_err(failed)?;
        Ok(headers)
    }

    fn all_gather(&self, own: &[u8], lengths: &[usize], wait: &Wait<'_>) -> Result<Vec<u8>, EngineError> {
        let (counts, begins) = places(lengths)?;
        let mut all = vec![0; lengths.iter().sum()];
        ferrompi::scope(|scope| {
            let request = self.world.iallgatherv(scope, own, &mut all, &counts, &begins)?;
            self.complete(&mut [(None, request)], wait)
        })
        .map_err(failed)?;
        Ok(all)
    }

    fn all_to_all(
        &self,
        own: &[u8],
        to: &[usize],
        from: &[usize],
        wait: &Wait<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        let (sent, sent_begins) = places(to)?;
        let (received, received_begins) = places(from)?;
        let mut all = vec![0; from.iter().sum()];
        ferrompi::scope(|scope| {
            let request = self.world.ialltoallv(
                scope,
                own,
                &sent,
                &sent_begins,
                &mut all,
                &received,
                &received_begins,
            )?;
            self.complete(&mut [(None, request)], wait)
        })
        .map_err(failed)?;
        Ok(all)
    }

    /// Each rank adds up its share and gives it to all: as many bytes as in a ring, all ways at once.
    fn all_reduce(&self, values: &mut [f32], wait: &Wait<'_>) -> Result<(), EngineError> {
        let (own, size, length) = (self.rank(), self.size(), values.len());
        let share = |rank: usize| length * rank / size..length * (rank + 1) / size;
        let others: Vec<usize> = (0..size).filter(|rank| *rank != own).collect();
        // A share of nothing has no places, and nobody sends any.
        let own_length = share(own).len().max(1);
        let mut theirs = vec![0.0_f32; share(own).len() * others.len()];
        ferrompi::scope(|scope| {
            let mut requests = Vec::new();
            for (other, place) in others.iter().zip(theirs.chunks_mut(own_length)) {
                let receiving = self.world.irecv(scope, place, *other as i32, SHARES)?;
                requests.push((Some(*other), receiving));
            }
            for other in others.iter().filter(|other| !share(**other).is_empty()) {
                let sending = self
                    .world
                    .isend(scope, &values[share(*other)], *other as i32, SHARES)?;
                requests.push((Some(*other), sending));
            }
            self.complete(&mut requests, wait)
        })
        .map_err(failed)?;
        let sums = &mut values[share(own)];
        for theirs in theirs.chunks(own_length) {
            sums.iter_mut().zip(theirs).for_each(|(sum, value)| *sum += value);
        }
        let (before, rest) = values.split_at_mut(share(own).start);
        let (sums, behind) = rest.split_at_mut(share(own).len());
        let sums = &*sums;
        ferrompi::scope(|scope| {
            let mut requests = Vec::new();
            let (mut before, mut behind) = (&mut *before, &mut *behind);
            for other in &others {
                let rest = if *other < own { &mut before } else { &mut behind };
                let (place, others) = std::mem::take(rest).split_at_mut(share(*other).len());
                *rest = others;
                if !place.is_empty() {
                    let receiving = self.world.irecv(scope, place, *other as i32, SUMS)?;
                    requests.push((Some(*other), receiving));
                }
                if !sums.is_empty() {
                    let sending = self.world.isend(scope, sums, *other as i32, SUMS)?;
                    requests.push((Some(*other), sending));
                }
            }
            self.complete(&mut requests, wait)
        })
        .map_err(failed)
    }

    fn broadcast(&self, bytes: &mut [u8], wait: &Wait<'_>) -> Result<(), EngineError> {
        ferrompi::scope(|scope| {
            let request = self.world.ibroadcast(scope, bytes, 0)?;
            self.complete(&mut [(None, request)], wait)
        })
        .map_err(failed)
    }

    fn abort(&self) {
        self.world.abort(1);
    }
}
