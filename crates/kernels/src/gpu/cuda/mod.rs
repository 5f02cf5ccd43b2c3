//! What runs on NVIDIA's GPUs beside burn's own kernels, on the memory that burn has there: products of matrices by the library
//! cuBLASLt, and kernels written in CUDA's C++, which NVIDIA's NVRTC compiles when the first of a width is asked for.
//!
//! Burn's kernels run on streams that are its own. What is here has another one, and the GPU keeps the order: what was given to it
//! before ends before this begins, and what is given to it afterwards waits for it. The host waits for nothing: what is asked for here is
//! done by burn's own thread for the GPU, in the order in which it was asked for among all that burn gives that thread.

pub(crate) mod attention;
mod attention_backward;
pub(crate) mod attention_in_slots;
mod cublas;
pub(crate) mod element_wise;
mod kernel;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod operations;
mod scratch;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};

use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl_common::device::{Device, DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl_common::device_handle::DeviceHandle;
use cubecl_runtime::runtime::Runtime;
use cudarc::driver::{
    CudaContext, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg, result as driver, sys,
};
use kernel::Kernel;

type Fallible<T> = Result<T, String>;

/// The GPU of `x`, which is not on a graph; none where that is not one of NVIDIA's, or not to be served.
fn gpu_of<const D: usize>(x: &Tensor<D>) -> Option<DeviceId> {
    use burn::backend::DispatchDevice;

    match x.device().as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Cuda(device)) if super::takes(x) => Some(device.to_id()),
        _ => None,
    }
}

/// Whether `x`, which is not on a graph, is on one of NVIDIA's GPUs.
pub(crate) fn on_cuda<const D: usize>(x: &Tensor<D>) -> bool {
    gpu_of(x).is_some()
}

/// A GPU, at work on burn's own thread for it, so that what is asked of burn within is answered at once.
struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// All that came before the last of ours.
    before: sys::CUevent,
    /// The last of ours.
    after: sys::CUevent,
    library: Option<cublas::Library>,
    kernels: kernel::Kernels,
    scratch: scratch::Scratch,
    /// Whether several launches are put in order together.
    together: bool,
}

// SAFETY: events are used by the thread of the GPU alone.
unsafe impl Send for Gpu {}

/// A GPU, or why it cannot be opened, among the services of burn's thread for it.
struct Service {
    gpu: Fallible<Gpu>,
    /// What could not be done here, and was said to be so.
    said: HashSet<&'static str>,
}

impl DeviceService for Service {
    fn init(device: DeviceId) -> Self {
        let gpu = Gpu::open(device.index_id.into()).inspect_err(|error| {
            tracing::warn!(
                "burn computes alone: GPU {} cannot be opened ({error})",
                device.index_id
            );
        });
        Self {
            gpu,
            said: HashSet::new(),
        }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        Arc::new(())
    }
}

impl Service {
    /// What `run` makes; none where it cannot, which is said once for each thing `wanted`.
    fn run<T>(
        &mut self,
        wanted: &'static str,
        run: impl FnOnce(&mut Gpu) -> Fallible<Option<T>>,
    ) -> Option<T> {
        let gpu = self.gpu.as_mut().ok()?;
        let made = gpu
            .context
            .bind_to_thread()
            .map_err(failed)
            .and_then(|()| run(gpu));
        made.unwrap_or_else(|error| {
            if self.said.insert(wanted) {
                tracing::warn!("burn computes {wanted}: {error}");
            }
            None
        })
    }
}

fn service(device: DeviceId) -> DeviceHandle<Service> {
    thread_local! {
        static SERVICES: RefCell<HashMap<DeviceId, DeviceHandle<Service>>> = RefCell::default();
    }
    let handle = || DeviceHandle::new(device);
    SERVICES.with_borrow_mut(|services| services.entry(device).or_insert_with(handle).clone())
}

/// What `run` makes on a GPU, when all that it was given before is on its way; none where it cannot, which is said once for each thing
/// `wanted`.
fn ask<T: Send>(
    device: DeviceId,
    wanted: &'static str,
    run: impl FnOnce(&mut Gpu) -> Fallible<Option<T>> + Send,
) -> Option<T> {
    let asked = service(device).submit_blocking(|service| service.run(wanted, run));
    asked.ok().flatten()
}

/// Has `run` write `results`, which are there already, behind all that their GPU was given before; nobody waits for it. It was found out
/// before that the GPU can do it. Where it fails all the same, which is an error of the GPU, they are NaN, never what the memory held, and
/// whoever next asks for something panics with the reason, as burn does.
fn submit<const N: usize>(
    results: [CubeTensor; N],
    run: impl FnOnce(&mut Gpu, &[CubeTensor; N]) -> Fallible<()> + Send + 'static,
) -> [CubeTensor; N] {
    static REFUSED: OnceLock<String> = OnceLock::new();

    if let Some(error) = REFUSED.get() {
        panic!("the GPU refused what it was given, give it less at a time: {error}");
    }
    let written = results.clone();
    let task = move |service: &mut Service| {
        let gpu = service.gpu.as_mut().map_err(|error| error.clone());
        let done = gpu.and_then(|gpu| {
            gpu.context.bind_to_thread().map_err(failed)?;
            let ran = catch_unwind(AssertUnwindSafe(|| run(gpu, &written)));
            let refused = match ran.unwrap_or_else(|_| Err("burn's own memory fails".to_owned())) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            gpu.together = false;
            let spoiled = gpu.spoil(&written);
            Err(match spoiled {
                Ok(()) => refused,
                Err(error) => format!("{refused}; {error}"),
            })
        });
        if let Err(error) = done {
            tracing::error!("the GPU refuses what it was given, results are made NaN: {error}");
            REFUSED.get_or_init(|| error);
        }
    };
    service(results[0].handle.service.device).submit(task);
    results
}

/// Whether a kernel is there, or can be made, for numbers of its type.
fn prepared(device: DeviceId, wanted: &'static str, kernel: &Kernel) -> bool {
    static PREPARED: LazyLock<RwLock<HashMap<(DeviceId, Kernel), bool>>> = LazyLock::new(RwLock::default);

    let known = PREPARED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(prepared) = known.get(&(device, *kernel)) {
        return *prepared;
    }
    drop(known);
    let made = ask(device, wanted, |gpu| {
        gpu.kernels.get(&gpu.context, kernel).map(|_| Some(()))
    });
    let mut known = PREPARED.write().unwrap_or_else(PoisonError::into_inner);
    *known.entry((device, *kernel)).or_insert(made.is_some())
}

impl Gpu {
    fn open(number: usize) -> Fallible<Self> {
        let context = CudaContext::new(number).map_err(failed)?;
        let stream = context.new_stream().map_err(failed)?;
        let event = || driver::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed);
        let library = cublas::Library::open()
            .inspect_err(|error| {
                tracing::warn!("burn multiplies: cuBLASLt, which does it faster, cannot be used ({error})")
            })
            .ok();
        Ok(Self {
            before: event()?,
            after: event()?,
            library,
            kernels: kernel::Kernels::default(),
            scratch: scratch::Scratch::default(),
            together: false,
            context,
            stream,
        })
    }

    /// Makes all numbers of `results` NaN.
    fn spoil(&mut self, results: &[CubeTensor]) -> Fallible<()> {
        self.in_order(|gpu| {
            for result in results {
                let (to, bytes) = (held(result)?, result.meta.num_elements() * result.dtype.size());
                // SAFETY: the memory is held, and of so many bytes.
                unsafe { driver::memset_d8_async(to.0, 0xff, bytes, gpu.stream.cu_stream()) }
                    .map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Gives the GPU what `run` puts on the stream, behind all that it was given before and ahead of all that it will be given. Within,
    /// nothing is asked of burn that gives the GPU anything.
    fn in_order<T>(&mut self, run: impl FnOnce(&mut Self) -> Fallible<T>) -> Fallible<T> {
        if self.together {
            return run(self);
        }
        self.scratch.begin(&self.stream)?;
        let (context, stream) = (self.context.cu_ctx(), self.stream.cu_stream());
        let wait = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event and the stream are of this context.
        unsafe {
            sys::cuCtxRecordEvent(context, self.before)
                .result()
                .map_err(failed)?;
            driver::stream::wait_event(stream, self.before, wait).map_err(failed)?;
        }
        self.together = true;
        let made = run(self);
        self.together = false;
        // SAFETY: as above. Also where something failed: what was given to the GPU before that is waited for.
        unsafe {
            driver::event::record(self.after, stream).map_err(failed)?;
            sys::cuCtxWaitEvent(context, self.after)
                .result()
                .map_err(failed)?;
        }
        made
    }
}

impl Gpu {
    /// Gives the GPU `kernel` with these arguments.
    ///
    /// # Safety
    /// The arguments are those of the kernel, and their addresses of memory that is held, as large as the kernel takes it to be.
    unsafe fn launch<A: DeviceRepr>(
        &mut self,
        kernel: &Kernel,
        [x, y, z]: [usize; 3],
        warps: usize,
        arguments: &A,
    ) -> Fallible<()> {
        let function = self.kernels.get(&self.context, kernel)?;
        let config = LaunchConfig {
            grid_dim: (x as u32, y as u32, z as u32),
            block_dim: (32 * warps as u32, 1, 1),
            shared_mem_bytes: kernel.shared as u32,
        };
        self.in_order(|gpu| {
            // SAFETY: as the caller says.
            let launched = unsafe { gpu.stream.launch_builder(&function).arg(arguments).launch(config) };
            launched.map(|_| ()).map_err(failed)
        })
    }
}

/// Where `x` begins in the GPU's memory, and what keeps it there. Asking for it also gives the GPU all that burn still kept back.
fn held(x: &CubeTensor) -> Fallible<(u64, impl Sized + use<>)> {
    let held = x
        .client
        .get_resource::<<CudaRuntime as Runtime>::Server>(x.handle.clone())
        .map_err(failed)?;
    Ok((held.resource().ptr, held))
}

/// A tensor beside `like`, which nothing was written to yet.
fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

fn contiguous(x: &CubeTensor) -> CubeTensor {
    into_contiguous(x.clone())
}

/// `x`, which is contiguous, in another shape of as many numbers.
fn shaped(x: CubeTensor, shape: Shape) -> CubeTensor {
    CubeTensor::new_contiguous(x.client, x.device, shape, x.handle, x.dtype)
}

/// `x` `[.., width]` as `[rows, width]`.
fn as_rows(x: &CubeTensor) -> CubeTensor {
    let x = contiguous(x);
    let shape = x.meta.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width.max(1);
    shaped(x, [rows, width].into())
}

/// The shape of `x` with another width.
fn with_width(x: &Shape, width: usize) -> Shape {
    let mut shape = x.clone();
    let last = shape.num_dims() - 1;
    shape[last] = width;
    shape
}

/// `x` as it lies where its numbers fill their memory, in whatever order of dimensions; else contiguous.
fn dense(x: &CubeTensor) -> CubeTensor {
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let mut order: Vec<usize> = (0..shape.num_dims())
        .filter(|dimension| shape[*dimension] > 1)
        .collect();
    order.sort_by_key(|dimension| std::cmp::Reverse(strides[*dimension]));
    let filled = order.iter().rev().try_fold(1, |apart, dimension| {
        (strides[*dimension] == apart).then(|| apart * shape[*dimension])
    });
    match filled {
        Some(_) => x.clone(),
        None => contiguous(x),
    }
}

fn failed(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
