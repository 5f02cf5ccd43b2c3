//! Memory for what an operation needs while it runs. It is not burn's: operations run one behind the other on a stream of their own, and
//! take the same memory one after the other, without asking for it each time.

use cudarc::driver::{CudaStream, result as driver, sys::CUdeviceptr};

use super::{Fallible, failed};

/// Bytes of which all addresses are multiples.
const ALIGNMENT: usize = 256;
/// Bytes that are there at least.
const AT_LEAST: usize = 64 << 20;

/// Several pieces of memory; all but the last were too small, and go when nothing reads them any longer.
#[derive(Default)]
pub(super) struct Scratch {
    pieces: Vec<(CUdeviceptr, usize)>,
    /// Bytes of the last piece that the operation has taken.
    taken: usize,
}

impl Scratch {
    /// Of the next operation.
    pub(super) fn begin(&mut self, stream: &CudaStream) -> Fallible<()> {
        self.taken = 0;
        if self.pieces.len() > 1 {
            stream.synchronize().map_err(failed)?;
            let last = self.pieces.len() - 1;
            for (address, _) in self.pieces.drain(..last) {
                // SAFETY: what was given to the GPU with this address has ended.
                unsafe { driver::free_sync(address) }.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The address of so many bytes, which hold anything, until the operation ends.
    pub(super) fn take(&mut self, bytes: usize) -> Fallible<u64> {
        let bytes = bytes.next_multiple_of(ALIGNMENT);
        let (_, there) = self.pieces.last().copied().unwrap_or_default();
        if there - self.taken < bytes {
            let more = bytes.max(2 * there).max(AT_LEAST);
            // SAFETY: memory that is written before it is read, by the kernels that are given its address.
            let make = |bytes| unsafe { driver::malloc_sync(bytes) }.map(|address| (address, bytes));
            // Where there is no room for more than this operation needs, that must do.
            let piece = make(more).or_else(|_| make(bytes)).map_err(failed)?;
            self.pieces.push(piece);
            self.taken = 0;
        }
        let first = self.pieces.last().map_or(0, |(address, _)| *address) + self.taken as u64;
        self.taken += bytes;
        Ok(first)
    }
}
