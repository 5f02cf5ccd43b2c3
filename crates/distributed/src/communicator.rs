//! What a run meets its other ranks by.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::operation::Operation;
use crate::traffic::Traffic;
use crate::{CollectiveError, Engine, EngineError, Wait};

/// Numbers that are reduced at a time, 4 MB: large enough that latency does not count, small enough to stay in caches.
pub const BUCKET: usize = 1 << 20;

/// Tensors of at most so many numbers are reduced together with others.
const SHORT: usize = BUCKET / 4;

/// The watchdog's time where nothing is said: longer than anything that a rank does between two collectives.
pub const WATCHDOG: Duration = Duration::from_secs(600);

/// The ranks of a run. All of them call the same methods in the same order; `what` names the payload in failures and in
/// [`Communicator::traffic`], and must be the same everywhere.
pub struct Communicator {
    /// None: there is only one rank, and nothing travels.
    engine: Option<Box<dyn Engine>>,
    watchdog: Duration,
    traffic: Mutex<Traffic>,
}

impl Communicator {
    /// Ranks that `engine` connects. A collective in which a rank says nothing for `watchdog` fails.
    pub fn new(engine: impl Engine + 'static, watchdog: Duration) -> Self {
        Self {
            engine: Some(Box::new(engine)),
            watchdog,
            traffic: Mutex::default(),
        }
    }

    /// The only rank of its run.
    pub fn solo() -> Self {
        Self {
            engine: None,
            watchdog: WATCHDOG,
            traffic: Mutex::default(),
        }
    }

    /// The same for whoever needs one and has none.
    pub fn alone() -> &'static Self {
        static ALONE: OnceLock<Communicator> = OnceLock::new();
        ALONE.get_or_init(Self::solo)
    }

    /// Which of the ranks this is, from 0: the first alone writes.
    pub fn rank(&self) -> usize {
        self.engine.as_ref().map_or(0, |engine| engine.rank())
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.engine.as_ref().map_or(1, |engine| engine.size())
    }

    /// Whether this is rank 0.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there is no other rank.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// What travelled so far.
    pub fn traffic(&self) -> Traffic {
        self.counts().clone()
    }

    /// Waits for all ranks.
    ///
    /// # Errors
    /// [`CollectiveError`], with operation, shape and rank; so in all that follows.
    pub fn barrier(&self, what: &'static str) -> Result<(), CollectiveError> {
        match self.engine() {
            None => Ok(()),
            Some(engine) => self.meet(engine, &Operation::new("barrier", what, 0)).map(drop),
        }
    }

    /// The bytes of rank 0, as many everywhere.
    ///
    /// # Errors
    /// As for [`Communicator::barrier`].
    pub fn broadcast(&self, what: &'static str, bytes: &mut [u8]) -> Result<(), CollectiveError> {
        let Some(engine) = self.engine() else {
            return Ok(());
        };
        let operation = Operation::new("broadcast", what, bytes.len());
        self.meet(engine, &operation)?;
        self.run(engine, &operation, |wait| engine.broadcast(bytes, wait))?;
        match engine.rank() {
            0 => self.counts().count(what, bytes.len() * (engine.size() - 1), 0),
            _ => self.counts().count(what, 0, bytes.len()),
        }
        Ok(())
    }

    /// What each rank has, in their order; they need not have as many bytes.
    ///
    /// # Errors
    /// As for [`Communicator::barrier`].
    pub fn all_gather(&self, what: &'static str, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let Some(engine) = self.engine() else {
            return Ok(vec![own.to_vec()]);
        };
        let operation = Operation::of_any_length("all_gather", what, own.len());
        let lengths = self.meet(engine, &operation)?;
        let all = self.run(engine, &operation, |wait| engine.all_gather(own, &lengths, wait))?;
        let others = engine.size() - 1;
        self.counts()
            .count(what, own.len() * others, all.len() - own.len());
        Ok(split(&all, &lengths))
    }

    /// What each rank has for this one, in their order, where `to` is what this one has for each.
    ///
    /// # Errors
    /// As for [`Communicator::barrier`].
    pub fn all_to_all(&self, what: &'static str, to: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let Some(engine) = self.engine() else {
            return Ok(to.to_vec());
        };
        let (rank, size) = (engine.rank(), engine.size());
        let lengths: Vec<u64> = to.iter().map(|bytes| bytes.len() as u64).collect();
        let operation = Operation::of_any_length("all_to_all", what, lengths.iter().sum::<u64>() as usize);
        self.meet(engine, &operation)?;
        let row = vec![size * 8; size];
        let told = self.run(engine, &operation, |wait| {
            engine.all_gather(bytemuck::cast_slice(&lengths), &row, wait)
        })?;
        let told: Vec<u64> = bytemuck::pod_collect_to_vec(&told);
        let from: Vec<usize> = (0..size)
            .map(|other| told[other * size + rank] as usize)
            .collect();
        let own_lengths: Vec<usize> = to.iter().map(Vec::len).collect();
        let all = self.run(engine, &operation, |wait| {
            engine.all_to_all(&to.concat(), &own_lengths, &from, wait)
        })?;
        let sent = own_lengths.iter().sum::<usize>() - own_lengths[rank];
        self.counts().count(what, sent, all.len() - from[rank]);
        Ok(split(&all, &from))
    }

    /// The sum over all ranks of each number of `tensors`, as many and as long everywhere, in an order of the transport's own; the same
    /// bits on all ranks. Long tensors travel from where they are, in pieces of [`BUCKET`] numbers; short ones together.
    ///
    /// # Errors
    /// As for [`Communicator::barrier`].
    pub fn all_reduce(&self, what: &'static str, tensors: &mut [&mut [f32]]) -> Result<(), CollectiveError> {
        let Some(engine) = self.engine() else {
            return Ok(());
        };
        let bytes = tensors.iter().map(|values| size_of_val(*values)).sum();
        let operation = Operation::new("all_reduce", what, bytes);
        self.meet(engine, &operation)?;
        let reduce =
            |bucket: &mut [f32]| self.run(engine, &operation, |wait| engine.all_reduce(bucket, wait));
        let (long, mut short): (Vec<_>, Vec<_>) = tensors.iter_mut().partition(|values| values.len() > SHORT);
        for bucket in long.into_iter().flat_map(|values| values.chunks_mut(BUCKET)) {
            reduce(bucket)?;
        }
        let (mut bucket, mut rest) = (Vec::new(), short.as_mut_slice());
        while !rest.is_empty() {
            let mut length = 0;
            let fitting = rest.iter().take_while(|values| {
                length += values.len();
                length <= BUCKET
            });
            let count = fitting.count();
            let (together, behind) = rest.split_at_mut(count);
            bucket.clear();
            bucket.extend(together.iter().flat_map(|values| values.iter()));
            reduce(&mut bucket)?;
            let mut sums = bucket.as_slice();
            for values in together {
                let (own, others) = sums.split_at(values.len());
                values.copy_from_slice(own);
                sums = others;
            }
            rest = behind;
        }
        let ring = 2 * bytes * (engine.size() - 1) / engine.size();
        self.counts().count(what, ring, ring);
        Ok(())
    }

    /// Makes sure that all ranks have the same facts: name and value of each, in the same order.
    ///
    /// # Errors
    /// [`CollectiveError::Disagree`] with the first fact in which a rank differs from rank 0; as for [`Communicator::barrier`].
    pub fn agree(&self, facts: &[(String, String)]) -> Result<(), CollectiveError> {
        let lines = |facts: &[(String, String)]| -> Vec<u8> {
            let line = |(name, value): &(String, String)| format!("{name}\t{value}\n");
            facts.iter().map(line).collect::<String>().into_bytes()
        };
        let all = self.all_gather("facts", &lines(facts))?;
        let read = |bytes: &[u8]| -> Vec<(String, String)> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let fact = |line: &str| {
                line.split_once('\t')
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            };
            text.lines().filter_map(fact).collect()
        };
        let first = read(&all[0]);
        let Some(other) = all.iter().position(|theirs| *theirs != all[0]) else {
            return Ok(());
        };
        let theirs = read(&all[other]);
        let index = (0..first.len().max(theirs.len())).find(|index| first.get(*index) != theirs.get(*index));
        let index = index.unwrap_or_default();
        let nothing = || (String::new(), "nothing".to_owned());
        let (ours, theirs) = (first.get(index).cloned(), theirs.get(index).cloned());
        let what = ours.clone().or(theirs.clone()).unwrap_or_else(nothing).0;
        Err(CollectiveError::Disagree {
            rank: self.rank(),
            size: self.size(),
            other,
            what,
            theirs: theirs.unwrap_or_else(nothing).1,
            first: ours.unwrap_or_else(nothing).1,
        })
    }

    /// Ends the job on all ranks, where the transport can: for a rank that has failed and said why.
    pub fn abort(&self) {
        if let Some(engine) = self.engine() {
            engine.abort();
        }
    }

    pub(crate) fn engine(&self) -> Option<&dyn Engine> {
        self.engine.as_deref().filter(|engine| engine.size() > 1)
    }

    pub(crate) fn counts(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for all ranks at the same operation, and gives how many bytes each has.
    pub(crate) fn meet(
        &self,
        engine: &dyn Engine,
        operation: &Operation,
    ) -> Result<Vec<usize>, CollectiveError> {
        let header = operation.header();
        let headers = self.run(engine, operation, |wait| engine.meet(&header, wait))?;
        let told: Vec<Operation> = headers.iter().map(Operation::read).collect();
        let other = told.iter().position(|told| !operation.fits(told));
        match other {
            Some(other) => Err(CollectiveError::Apart {
                doing: operation.on(engine),
                other,
                theirs: told[other].to_string(),
            }),
            None => Ok(told.iter().map(Operation::bytes).collect()),
        }
    }

    pub(crate) fn run<T>(
        &self,
        engine: &dyn Engine,
        operation: &Operation,
        act: impl FnOnce(&Wait<'_>) -> Result<T, EngineError>,
    ) -> Result<T, CollectiveError> {
        let doing = operation.on(engine);
        let wait = Wait {
            limit: self.watchdog,
            doing: &doing,
        };
        act(&wait).map_err(|source| CollectiveError::Engine {
            doing: doing.clone(),
            source,
        })
    }
}

pub(crate) fn split(all: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = all;
    lengths
        .iter()
        .map(|length| {
            let (own, others) = rest.split_at(*length);
            rest = others;
            own.to_vec()
        })
        .collect()
}
