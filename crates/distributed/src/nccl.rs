//! Sums between NVIDIA GPUs by NCCL: every call of it in the house.
//!
//! Another engine connects the ranks beside it: it carries NCCL's id and all that is not a sum. NCCL is loaded when it is first
//! called. The numbers come from the CPU's memory and go back there: what travels between the GPUs does not pass through it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cudarc::driver::{CudaContext, CudaStream};
use cudarc::nccl::{Comm, Id, ReduceOp};

use crate::{Engine, EngineError, Header, Wait};

const PAUSE: Duration = Duration::from_micros(100);
/// Bytes of NCCL's id.
const ID: usize = 128;

/// Ranks of which each has a GPU of its own, beside the engine that connects them.
pub struct Nccl<Control> {
    control: Control,
    sums: Mutex<Sums>,
}

struct Sums {
    communicator: Comm,
    stream: Arc<CudaStream>,
}

// SAFETY: NCCL takes calls for a communicator from any thread, one at a time, which the lock around it sees to.
unsafe impl Send for Sums {}

impl<Control: Engine> Nccl<Control> {
    /// Joins the GPU `number` of this machine to those of the other ranks of `control`. All ranks call this together.
    ///
    /// # Errors
    /// The driver or NCCL is missing or fails; the id does not get through.
    pub fn beside(control: Control, number: usize, wait: &Wait<'_>) -> Result<Self, EngineError> {
        let stream = stream(number);
        // Joining waits without a limit for ranks that cannot join: nobody begins before all can.
        let able = control.all_gather(&[u8::from(stream.is_ok())], &vec![1; control.size()], wait)?;
        let stream = stream?;
        if let Some(rank) = able.iter().position(|able| *able == 0) {
            return Err(EngineError::Transport(format!("rank {rank} has no GPU to join")));
        }
        let mut bytes = [0; ID];
        if control.rank() == 0 {
            bytes = Id::new().map_err(failed)?.internal().map(|letter| letter as u8);
        }
        control.broadcast(&mut bytes, wait)?;
        let id = Id::uninit(bytes.map(|byte| byte as std::ffi::c_char));
        let communicator =
            Comm::from_rank(stream.clone(), control.rank(), control.size(), id).map_err(failed)?;
        Ok(Self {
            control,
            sums: Mutex::new(Sums { communicator, stream }),
        })
    }
}

/// A stream of the GPU `number`.
fn stream(number: usize) -> Result<Arc<CudaStream>, EngineError> {
    // SAFETY: both look for a library and open it.
    let found = unsafe { cudarc::driver::sys::is_culib_present() && cudarc::nccl::sys::is_culib_present() };
    if !found {
        return Err(EngineError::Transport(
            "no NVIDIA driver or no NCCL is found: install libnccl2, or build without the feature `nccl`"
                .to_owned(),
        ));
    }
    let context = CudaContext::new(number).map_err(failed)?;
    context.new_stream().map_err(failed)
}

impl Sums {
    /// Adds up over all GPUs; nothing where that takes longer than `limit`, and the numbers are then lost.
    fn reduce(&self, values: &mut [f32], limit: Duration) -> Result<Option<()>, EngineError> {
        let mut numbers = self.stream.clone_htod(&*values).map_err(failed)?;
        self.communicator
            .all_reduce_in_place(&mut numbers, &ReduceOp::Sum)
            .map_err(failed)?;
        let done = self.stream.record_event(None).map_err(failed)?;
        let begun = Instant::now();
        while !done.try_is_complete().map_err(failed)? {
            if begun.elapsed() > limit {
                // What was begun still reads it.
                std::mem::forget(numbers);
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
        self.stream.memcpy_dtoh(&numbers, values).map_err(failed)?;
        self.stream.synchronize().map_err(failed)?;
        Ok(Some(()))
    }
}

fn failed(error: impl std::fmt::Debug) -> EngineError {
    EngineError::Transport(format!("{error:?}"))
}

impl<Control: Engine> Engine for Nccl<Control> {
    fn rank(&self) -> usize {
        self.control.rank()
    }

    fn size(&self) -> usize {
        self.control.size()
    }

    fn meet(&self, header: &Header, wait: &Wait<'_>) -> Result<Vec<Header>, EngineError> {
        self.control.meet(header, wait)
    }

    fn all_gather(&self, own: &[u8], lengths: &[usize], wait: &Wait<'_>) -> Result<Vec<u8>, EngineError> {
        self.control.all_gather(own, lengths, wait)
    }

    fn all_to_all(
        &self,
        own: &[u8],
        to: &[usize],
        from: &[usize],
        wait: &Wait<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        self.control.all_to_all(own, to, from, wait)
    }

    /// NCCL cannot take back what was begun: when the time is over, the job ends.
    fn all_reduce(&self, values: &mut [f32], wait: &Wait<'_>) -> Result<(), EngineError> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        match sums.reduce(values, wait.limit)? {
            Some(()) => Ok(()),
            None => {
                let silent = EngineError::Silent {
                    waited: wait.limit,
                    ranks: Vec::new(),
                };
                tracing::error!("{}: {silent}", wait.doing);
                self.control.abort();
                Err(silent)
            }
        }
    }

    fn broadcast(&self, bytes: &mut [u8], wait: &Wait<'_>) -> Result<(), EngineError> {
        self.control.broadcast(bytes, wait)
    }

    fn abort(&self) {
        self.control.abort();
    }
}
