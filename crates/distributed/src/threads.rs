//! Ranks as threads of one process: for tests.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Communicator, Engine, EngineError, Header, Wait};

/// One of several ranks that are threads of this process.
///
/// What burn keeps for the whole process they share: its generator of random numbers, so that runs with dropout are not reproduced by
/// threads; and graphs, so that each rank needs a model of its own, made in its thread: backward passes of two threads through
/// the same parameters wait for each other for ever.
pub struct Threads {
    rank: usize,
    meeting: Arc<Meeting>,
}

/// Where they meet.
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// How often all have met.
    round: u64,
    /// What each has brought to the round that is under way.
    brought: Vec<Option<Vec<u8>>>,
    /// What all brought to the last one.
    last: Arc<Vec<Vec<u8>>>,
    /// Who is gone.
    left: Vec<bool>,
}

impl Threads {
    /// `size` ranks, each for a thread of its own.
    pub fn ranks(size: usize, watchdog: Duration) -> Vec<Communicator> {
        let meeting = Arc::new(Meeting {
            state: Mutex::new(State {
                round: 0,
                brought: vec![None; size],
                last: Arc::default(),
                left: vec![false; size],
            }),
            changed: Condvar::new(),
        });
        let ranks = (0..size).map(|rank| Self {
            rank,
            meeting: meeting.clone(),
        });
        ranks.map(|rank| Communicator::new(rank, watchdog)).collect()
    }

    /// Runs `act` on `size` ranks at once and gives what each returned, in their order.
    ///
    /// # Panics
    /// Where one of them does.
    pub fn run<T: Send>(size: usize, watchdog: Duration, act: impl Fn(Communicator) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = Self::ranks(size, watchdog)
                .into_iter()
                .map(|communicator| scope.spawn(|| act(communicator)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined
                .map(|returned| returned.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A rank that panicked has left its state whole.
        self.meeting.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all ranks brought, once each has brought its own.
    fn exchange(&self, own: Vec<u8>, wait: &Wait<'_>) -> Result<Arc<Vec<Vec<u8>>>, EngineError> {
        let begun = Instant::now();
        let mut state = self.state();
        let round = state.round;
        state.brought[self.rank] = Some(own);
        if state.brought.iter().all(Option::is_some) {
            state.last = Arc::new(state.brought.iter_mut().filter_map(Option::take).collect());
            state.round += 1;
            self.meeting.changed.notify_all();
        }
        while state.round == round {
            let missing = |state: &State| -> Vec<usize> {
                let brought = state.brought.iter().enumerate();
                brought
                    .filter(|(_, brought)| brought.is_none())
                    .map(|(rank, _)| rank)
                    .collect()
            };
            if let Some(rank) = missing(&state).into_iter().find(|rank| state.left[*rank]) {
                return Err(EngineError::Left { rank });
            }
            let waited = begun.elapsed();
            let Some(rest) = wait.limit.checked_sub(waited) else {
                let ranks = missing(&state);
                return Err(EngineError::Silent { waited, ranks });
            };
            let changed = self.meeting.changed.wait_timeout(state, rest);
            state = changed.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state.last.clone())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.state().left[self.rank] = true;
        self.meeting.changed.notify_all();
    }
}

impl Engine for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.state().left.len()
    }

    fn meet(&self, header: &Header, wait: &Wait<'_>) -> Result<Vec<Header>, EngineError> {
        let all = self.exchange(header.to_vec(), wait)?;
        let header = |bytes: &Vec<u8>| Header::try_from(bytes.as_slice());
        all.iter()
            .map(header)
            .collect::<Result<_, _>>()
            .map_err(|_| EngineError::Transport("a rank brought no header".to_owned()))
    }

    fn all_gather(&self, own: &[u8], _: &[usize], wait: &Wait<'_>) -> Result<Vec<u8>, EngineError> {
        Ok(self.exchange(own.to_vec(), wait)?.concat())
    }

    fn all_to_all(
        &self,
        own: &[u8],
        to: &[usize],
        from: &[usize],
        wait: &Wait<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        // Each brings all that it has, with where its share for each rank begins.
        let mut begin = 0;
        let begins = to.iter().map(|length| {
            begin += length;
            (begin - length) as u64
        });
        let begins: Vec<u64> = begins.collect();
        let table: &[u8] = bytemuck::cast_slice(&begins);
        let all = self.exchange([table, own].concat(), wait)?;
        let share = |(bytes, length): (&Vec<u8>, &usize)| {
            let begins: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes[..table.len()]);
            let start = table.len() + begins[self.rank] as usize;
            bytes[start..start + length].to_vec()
        };
        Ok(all.iter().zip(from).flat_map(share).collect())
    }

    fn all_reduce(&self, values: &mut [f32], wait: &Wait<'_>) -> Result<(), EngineError> {
        let all = self.exchange(bytemuck::cast_slice(values).to_vec(), wait)?;
        values.fill(0.0);
        for bytes in all.iter() {
            let theirs: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
            values
                .iter_mut()
                .zip(theirs)
                .for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }

    fn broadcast(&self, bytes: &mut [u8], wait: &Wait<'_>) -> Result<(), EngineError> {
        let own = match self.rank {
            0 => bytes.to_vec(),
            _ => Vec::new(),
        };
        bytes.copy_from_slice(&self.exchange(own, wait)?[0]);
        Ok(())
    }
}
