//! Kernels in CUDA's C++: compiled when they are first asked for, for the width and the format of numbers that they are asked for.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, sys};
use cudarc::nvrtc::{CompileError, CompileOptions, compile_ptx_with_opts, sys as nvrtc};

use super::{Fallible, failed};

/// What the kernels call by name.
const WARP: &str = include_str!("warp.cuh");
/// The oldest GPUs that have all of it: Ampere's. The driver translates for newer ones.
const ARCHITECTURE: &str = "compute_80";
const OLDEST: i32 = 8;

/// A kernel as it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// Of the function.
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    /// Numbers of a row, or what else the source takes as `WIDTH`.
    pub(super) width: usize,
    /// Whether numbers of 16 bits are IEEE's, not bfloat16.
    pub(super) half: bool,
    /// Bytes of shared memory of a block.
    pub(super) shared: usize,
}

impl Kernel {
    /// All that tells it from others: a name stands in one source.
    fn key(&self) -> (&'static str, usize, bool, usize) {
        (self.name, self.width, self.half, self.shared)
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// What was compiled for a GPU, or why not.
#[derive(Default)]
pub(super) struct Kernels(HashMap<Kernel, Fallible<CudaFunction>>);

impl Kernels {
    pub(super) fn get(&mut self, context: &Arc<CudaContext>, kernel: &Kernel) -> Fallible<CudaFunction> {
        let made = self.0.entry(*kernel).or_insert_with(|| compiled(context, kernel));
        made.clone()
    }
}

fn compiled(context: &Arc<CudaContext>, kernel: &Kernel) -> Fallible<CudaFunction> {
    let (major, _) = context.compute_capability().map_err(failed)?;
    if major < OLDEST {
        return Err(format!(
            "the GPU is of compute capability {major}, which the kernel asks to be {OLDEST}"
        ));
    }
    // SAFETY: looks for a library and opens it.
    if !unsafe { nvrtc::is_culib_present() } {
        return Err(
            "NVRTC is not found: put libnvrtc, of the CUDA toolkit or of PyTorch, where LD_LIBRARY_PATH leads".to_owned(),
        );
    }
    let mut options = vec![
        format!("--gpu-architecture={ARCHITECTURE}"),
        "--std=c++17".to_owned(),
        format!("-DWIDTH={}", kernel.width),
    ];
    if kernel.half {
        options.push("-DHALF".to_owned());
    }
    let options = CompileOptions {
        options,
        ..CompileOptions::default()
    };
    let program =
        compile_ptx_with_opts(format!("{WARP}{}", kernel.source), options).map_err(|error| match error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => failed(other),
        })?;
    let module = context.load_module(program).map_err(failed)?;
    let function = module.load_function(kernel.name).map_err(failed)?;
    let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    function
        .set_attribute(most, kernel.shared as i32)
        .map_err(failed)?;
    Ok(function)
}
