//! From how a process was started to the ranks that it trains with.

use std::time::Duration;

use crate::{Communicator, Launch, LaunchError};

/// A process that was started as one of several and cannot meet the others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// MPI, or NCCL beside it, does not start.
    #[error("MPI or NCCL does not start: {0}")]
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
/// ends the job. Where the program is built with NCCL and each rank names the `gpu` that it computes on, sums are made between those.
///
/// # Errors
/// [`ConnectError`] where it was started as one of several that it cannot meet.
pub fn connect(watchdog: Duration, gpu: Option<usize>) -> Result<Connection, ConnectError> {
    match Launch::from_environment()? {
        Some(launch) if launch.size != Some(1) => joined(launch, watchdog, gpu),
        _ => Ok(Connection {
            communicator: Communicator::solo(),
            #[cfg(feature = "mpi")]
            _library: None,
        }),
    }
}

#[cfg(feature = "mpi")]
fn joined(launch: Launch, watchdog: Duration, gpu: Option<usize>) -> Result<Connection, ConnectError> {
    let (engine, library) = crate::mpi::start().map_err(ConnectError::Transport)?;
    let communicator = on_gpus(engine, watchdog, gpu)?;
    let (rank, size) = (communicator.rank(), communicator.size());
    if rank != launch.rank || launch.size.is_some_and(|told| told != size) {
        return Err(ConnectError::Apart { launch, rank, size });
    }
    Ok(Connection {
        communicator,
        _library: Some(library),
    })
}

/// The ranks that `engine` connects, and their GPUs beside it.
#[cfg(feature = "nccl")]
fn on_gpus(
    engine: crate::mpi::Mpi,
    watchdog: Duration,
    gpu: Option<usize>,
) -> Result<Communicator, ConnectError> {
    let Some(number) = gpu else {
        return Ok(Communicator::new(engine, watchdog));
    };
    let wait = crate::Wait {
        limit: watchdog,
        doing: "joining the GPUs",
    };
    let engine = crate::nccl::Nccl::beside(engine, number, &wait);
    let engine = engine.map_err(|error| ConnectError::Transport(format!("GPU {number}: {error}")))?;
    Ok(Communicator::new(engine, watchdog))
}

#[cfg(all(feature = "mpi", not(feature = "nccl")))]
fn on_gpus(
    engine: crate::mpi::Mpi,
    watchdog: Duration,
    _: Option<usize>,
) -> Result<Communicator, ConnectError> {
    Ok(Communicator::new(engine, watchdog))
}

#[cfg(not(feature = "mpi"))]
fn joined(launch: Launch, _: Duration, _: Option<usize>) -> Result<Connection, ConnectError> {
    Err(ConnectError::WithoutTransport(launch))
}
