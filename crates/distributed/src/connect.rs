//! From how a process was started to the ranks that it trains with.

use std::time::Duration;

use crate::{Communicator, Launch, LaunchError};

/// A process that was started as one of several and cannot meet the others.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// What the launcher says cannot be read.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The program has no transport.
    #[error(
        "{0}, but this program was built without MPI and would train alone: build it with `--features mpi`, or start one process"
    )]
    WithoutTransport(Launch),
    /// The transport connects other processes than the launcher started.
    #[error(
        "{launch}, but MPI knows it as rank {rank} of {size}: start it with the mpirun of the MPI library that it was built with, \
         or `srun --mpi=pmix`"
    )]
    Apart {
        /// What the launcher says.
        launch: Launch,
        /// What MPI says.
        rank: usize,
        /// Of how many.
        size: usize,
    },
    /// MPI does not start.
    #[error("MPI does not start: {0}")]
    Transport(String),
}

/// The ranks of this process's run, for as long as it is held; on the thread that made it.
pub struct Connection {
    communicator: Communicator,
    /// Dropped last, which ends it on all ranks together.
    #[cfg(feature = "mpi")]
    _library: Option<crate::mpi::Library>,
}

impl std::ops::Deref for Connection {
    type Target = Communicator;

    fn deref(&self) -> &Communicator {
        &self.communicator
    }
}

/// The ranks of this process's run: all that the launcher started with it, or it alone. A rank that says nothing for `watchdog`
/// ends the job.
///
/// # Errors
/// [`ConnectError`] where it was started as one of several that it cannot meet.
pub fn connect(watchdog: Duration) -> Result<Connection, ConnectError> {
    match Launch::from_environment()? {
        Some(launch) if launch.size != Some(1) => joined(launch, watchdog),
        _ => Ok(Connection {
            communicator: Communicator::solo(),
            #[cfg(feature = "mpi")]
            _library: None,
        }),
    }
}

#[cfg(feature = "mpi")]
fn joined(launch: Launch, watchdog: Duration) -> Result<Connection, ConnectError> {
    let (engine, library) = crate::mpi::start().map_err(ConnectError::Transport)?;
    let communicator = Communicator::new(engine, watchdog);
    let (rank, size) = (communicator.rank(), communicator.size());
    if rank != launch.rank || launch.size.is_some_and(|told| told != size) {
        return Err(ConnectError::Apart { launch, rank, size });
    }
    Ok(Connection {
        communicator,
        _library: Some(library),
    })
}

#[cfg(not(feature = "mpi"))]
fn joined(launch: Launch, _: Duration) -> Result<Connection, ConnectError> {
    Err(ConnectError::WithoutTransport(launch))
}
