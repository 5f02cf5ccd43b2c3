//! What carries bytes from rank to rank.

use std::time::Duration;

/// Bytes in which a rank says what it is about to do.
pub const HEADER: usize = 64;

/// What a rank is about to do.
pub type Header = [u8; HEADER];

/// A transport between ranks. [`Communicator`](crate::Communicator) calls it: all ranks the same method with lengths that fit
/// each other, which they have told each other by [`Engine::meet`].
pub trait Engine: Send + Sync {
    /// Which of the ranks this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Waits for all ranks, and gives what each is about to do.
    ///
    /// # Errors
    /// [`EngineError`], with the ranks at fault where they are known; so in all that follows.
    fn meet(&self, header: &Header, wait: &Wait<'_>) -> Result<Vec<Header>, EngineError>;

    /// The bytes of all ranks, one behind the other; `lengths` says how many each has.
    ///
    /// # Errors
    /// As for [`Engine::meet`].
    fn all_gather(&self, own: &[u8], lengths: &[usize], wait: &Wait<'_>) -> Result<Vec<u8>, EngineError>;

    /// What all ranks have for this one, one behind the other: `own` holds `to[r]` bytes for each rank `r`, and rank `r` has
    /// `from[r]` for this one.
    ///
    /// # Errors
    /// As for [`Engine::meet`].
    fn all_to_all(
        &self,
        own: &[u8],
        to: &[usize],
        from: &[usize],
        wait: &Wait<'_>,
    ) -> Result<Vec<u8>, EngineError>;

    /// The sum over all ranks of each number, in an order of its own; the same bits everywhere.
    ///
    /// # Errors
    /// As for [`Engine::meet`].
    fn all_reduce(&self, values: &mut [f32], wait: &Wait<'_>) -> Result<(), EngineError>;

    /// The bytes of rank 0, everywhere.
    ///
    /// # Errors
    /// As for [`Engine::meet`].
    fn broadcast(&self, bytes: &mut [u8], wait: &Wait<'_>) -> Result<(), EngineError>;

    /// Ends the job on all ranks, where the transport can.
    fn abort(&self) {}
}

/// How long a collective may take.
pub struct Wait<'a> {
    /// The watchdog's time.
    pub limit: Duration,
    /// What is waited for, as a failure names it: for transports that can but end the process when it is over.
    pub doing: &'a str,
}

/// Why bytes did not get through.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// The watchdog's time is over.
    #[error(
        "{} did not answer within {} s: a process that is stopped or stuck, or a watchdog that is too short for what it did",
        named(ranks),
        waited.as_secs_f64()
    )]
    Silent {
        /// How long that was.
        waited: Duration,
        /// Who did not answer, as far as that is known.
        ranks: Vec<usize>,
    },
    /// A rank has ended.
    #[error("rank {rank} has ended")]
    Left {
        /// Which.
        rank: usize,
    },
    /// The transport failed.
    #[error("{0}")]
    Transport(String),
}

fn named(ranks: &[usize]) -> String {
    let listed: Vec<String> = ranks.iter().map(usize::to_string).collect();
    match ranks {
        [] => "some rank".to_owned(),
        [rank] => format!("rank {rank}"),
        _ => format!("ranks {}", listed.join(", ")),
    }
}
