//! Products of matrices by NVIDIA's library cuBLASLt, on the memory that burn has on the GPU: every call of it in the house.
//!
//! Burn's kernels run on streams that are its own. The library gets another one, and the GPU keeps the order: what was given to it
//! before a product ends before that begins, and what is given to it afterwards waits for it. The host waits for nothing.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};

use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl_runtime::runtime::Runtime;
use cudarc::cublaslt::{result as cublaslt, sys};
use cudarc::driver::{CudaContext, CudaStream, result as driver, sys as driver_sys};

/// Bytes that a product may take beside its operands: what PyTorch allows it on Hopper GPUs.
const WORKSPACE: usize = 32 << 20;
/// No address is better aligned than the library asks for by itself.
const ALIGNMENT: u32 = 256;

type Fallible<T> = Result<T, String>;

/// The products of `a` `[.., m, k]` and `b` `[.., k, n]`, of the same type and as many, plus `bias` `[n]`, as numbers of the type
/// `dtype`; none where the library is not there, or does not do it.
pub(super) fn product(
    a: &CubeTensor,
    b: &CubeTensor,
    bias: Option<&CubeTensor>,
    dtype: DType,
) -> Option<CubeTensor> {
    let CubeDevice::Cuda(device) = &a.device else {
        return None;
    };
    let types = Types::of(a.dtype, dtype)?;
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = libraries.entry(device.index).or_insert_with(|| {
        Library::open(device.index)
            .inspect_err(|error| {
                tracing::warn!("burn multiplies: cuBLASLt, which does it faster, cannot be used ({error})");
            })
            .ok()
    });
    let library = library.as_mut()?;
    let product = library.product(a, b, bias, dtype, types);
    product
        .inspect_err(|error| {
            static SAID: Once = Once::new();
            let shapes = (a.meta.shape(), b.meta.shape());
            SAID.call_once(|| {
                tracing::warn!("burn multiplies {shapes:?} and the like: cuBLASLt does not ({error})")
            });
        })
        .ok()
}

static LIBRARIES: LazyLock<Mutex<HashMap<usize, Option<Library>>>> = LazyLock::new(Mutex::default);

/// The library on a GPU.
struct Library {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    handle: sys::cublasLtHandle_t,
    workspace: driver_sys::CUdeviceptr,
    /// All that came before the last product.
    before: driver_sys::CUevent,
    /// The last product.
    after: driver_sys::CUevent,
    plans: HashMap<Sizes, Plan>,
}

// SAFETY: the library takes calls from any thread, one at a time for a stream, which the lock around it sees to.
unsafe impl Send for Library {}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Types {
    Bf16,
    Bf16ToF32,
    F32,
}

impl Types {
    fn of(operands: DType, product: DType) -> Option<Self> {
        match (operands, product) {
            (DType::BF16, DType::BF16) => Some(Self::Bf16),
            (DType::BF16, DType::F32) => Some(Self::Bf16ToF32),
            (DType::F32, DType::F32) => Some(Self::F32),
            _ => None,
        }
    }

    fn operands(self) -> sys::cudaDataType {
        match self {
            Self::Bf16 | Self::Bf16ToF32 => sys::cudaDataType::CUDA_R_16BF,
            Self::F32 => sys::cudaDataType::CUDA_R_32F,
        }
    }

    fn product(self) -> sys::cudaDataType {
        match self {
            Self::Bf16 => sys::cudaDataType::CUDA_R_16BF,
            Self::Bf16ToF32 | Self::F32 => sys::cudaDataType::CUDA_R_32F,
        }
    }
}

/// How matrices lie in memory: their rows one behind the other, or their columns.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Lies {
    by_columns: bool,
    /// Numbers from the beginning of one to that of the next.
    apart: usize,
    /// Numbers from the beginning of a matrix to that of the next.
    matrices_apart: usize,
}

impl Lies {
    fn of(x: &CubeTensor) -> Option<Self> {
        let (shape, strides) = (x.meta.shape(), x.meta.strides());
        let outer = shape.num_dims() - 2;
        let ([rows, columns], [down, right]) = (
            [shape[outer], shape[outer + 1]],
            [strides[outer], strides[outer + 1]],
        );
        // Several dimensions of matrices count as one where each is a whole of the next.
        let many: Vec<usize> = (0..outer).filter(|dimension| shape[*dimension] > 1).collect();
        if many
            .windows(2)
            .any(|pair| strides[pair[0]] != strides[pair[1]] * shape[pair[1]])
        {
            return None;
        }
        let matrices_apart = many.last().map_or(0, |last| strides[*last]);
        if !many.is_empty() && matrices_apart == 0 {
            return None;
        }
        let lies = |by_columns, apart| Self {
            by_columns,
            apart,
            matrices_apart,
        };
        if (right == 1 || columns == 1) && (down >= columns || rows == 1) {
            return Some(lies(false, down.max(columns)));
        }
        ((down == 1 || rows == 1) && (right >= rows || columns == 1)).then(|| lies(true, right.max(rows)))
    }
}

/// `x` as it lies, or made to lie so that the library can read it.
fn readable(x: &CubeTensor) -> Fallible<(CubeTensor, Lies)> {
    if let Some(lies) = Lies::of(x) {
        return Ok((x.clone(), lies));
    }
    let x = into_contiguous(x.clone());
    let lies = Lies::of(&x).ok_or_else(|| format!("strides {:?}", x.meta.strides()))?;
    Ok((x, lies))
}

/// All that decides how a product is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Sizes {
    /// Rows and columns of the product, and what is summed over.
    size: [usize; 3],
    /// So many of them.
    matrices: usize,
    a: Lies,
    b: Lies,
    types: Types,
    biased: bool,
    /// Bytes of which the addresses of operands and product are multiples.
    aligned: [u32; 3],
}

/// How the library makes a product of these [`Sizes`].
struct Plan {
    operation: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    product: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Library {
    fn open(number: usize) -> Fallible<Self> {
        // SAFETY: looks for a library and opens it.
        if !unsafe { sys::is_culib_present() } {
            return Err("it is not found: put libcublasLt, of the CUDA toolkit or of PyTorch, where LD_LIBRARY_PATH leads".to_owned());
        }
        let context = CudaContext::new(number).map_err(failed)?;
        let stream = context.new_stream().map_err(failed)?;
        let event =
            || driver::event::create(driver_sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed);
        Ok(Self {
            handle: cublaslt::create_handle().map_err(failed)?,
            // SAFETY: memory that is written before it is read, by the library alone.
            workspace: unsafe { driver::malloc_sync(WORKSPACE) }.map_err(failed)?,
            before: event()?,
            after: event()?,
            plans: HashMap::new(),
            context,
            stream,
        })
    }

    fn product(
        &mut self,
        a: &CubeTensor,
        b: &CubeTensor,
        bias: Option<&CubeTensor>,
        dtype: DType,
        types: Types,
    ) -> Fallible<CubeTensor> {
        self.context.bind_to_thread().map_err(failed)?;
        let mut shape = Shape::clone(a.meta.shape());
        let last = shape.num_dims() - 1;
        let ([rows, inner], columns) = ([shape[last - 1], shape[last]], b.meta.shape()[last]);
        shape[last] = columns;
        let matrices: usize = shape.iter().take(last - 1).product();
        let ((a, a_lies), (b, b_lies)) = (readable(a)?, readable(b)?);
        let bias = bias.map(|bias| into_contiguous(bias.clone()));
        let product = empty_device_contiguous_dtype(a.client.clone(), a.device.clone(), shape, dtype);
        if matrices * rows * columns * inner == 0 {
            return Err("nothing to multiply".to_owned());
        }
        // What burn holds stays in place as long as this does. Asking for it also gives the GPU all that burn still kept back.
        let held = |x: &CubeTensor| {
            x.client
                .get_resource::<<CudaRuntime as Runtime>::Server>(x.handle.clone())
                .map_err(failed)
        };
        let (a, b, to) = (held(&a)?, held(&b)?, held(&product)?);
        let bias = bias.as_ref().map(held).transpose()?;
        let addresses = [&a, &b, &to].map(|held| held.resource().ptr);
        let sizes = Sizes {
            size: [rows, columns, inner],
            matrices,
            a: a_lies,
            b: b_lies,
            types,
            biased: bias.is_some(),
            aligned: addresses.map(|address| ALIGNMENT.min(1 << address.trailing_zeros().min(8))),
        };
        if !self.plans.contains_key(&sizes) {
            let plan = Plan::new(self.handle, &sizes).map_err(failed)?;
            self.plans.insert(sizes, plan);
        }
        let bias = bias.as_ref().map(|bias| bias.resource().ptr);
        self.run(&sizes, addresses, bias)?;
        Ok(product)
    }

    /// Gives the GPU a product, behind all that it was given before and ahead of all that it will be given.
    fn run(&self, sizes: &Sizes, [a, b, product]: [u64; 3], bias: Option<u64>) -> Fallible<()> {
        let plan = &self.plans[sizes];
        let (context, stream) = (self.context.cu_ctx(), self.stream.cu_stream());
        if let Some(bias) = bias {
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
            set(plan.operation, attribute, &bias).map_err(failed)?;
        }
        let (one, zero) = (1f32, 0f32);
        // SAFETY: the events and the stream are of this context; the addresses are those of memory that is held, as large as the
        // layouts say. The library's matrices lie by columns: it makes the transposed product, of `b` and `a`.
        unsafe {
            driver_sys::cuCtxRecordEvent(context, self.before)
                .result()
                .map_err(failed)?;
            driver::stream::wait_event(
                stream,
                self.before,
                driver_sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            )
            .map_err(failed)?;
            cublaslt::matmul(
                self.handle,
                plan.operation,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                b as *const c_void,
                plan.b,
                a as *const c_void,
                plan.a,
                product as *const c_void,
                plan.product,
                product as *mut c_void,
                plan.product,
                &raw const plan.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )
            .map_err(failed)?;
            driver::event::record(self.after, stream).map_err(failed)?;
            driver_sys::cuCtxWaitEvent(context, self.after)
                .result()
                .map_err(failed)
        }
    }
}

impl Plan {
    fn new(handle: sys::cublasLtHandle_t, sizes: &Sizes) -> Result<Self, cublaslt::CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Of;
        use sys::cublasLtMatmulPreferenceAttributes_t as Prefer;

        let [rows, columns, inner] = sizes.size;
        let operation = cublaslt::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType::CUDA_R_32F,
        )?;
        let operands = sizes.types.operands();
        // `cublasOperation_t`.
        let transposed = |lies: Lies| i32::from(lies.by_columns);
        // Rows of ours are columns of the library's.
        let layout = |[down, right]: [usize; 2], lies: Lies, dtype| {
            let [rows, columns] = match lies.by_columns {
                true => [down, right],
                false => [right, down],
            };
            let layout =
                cublaslt::create_matrix_layout(dtype, rows as u64, columns as u64, lies.apart as i64)?;
            if sizes.matrices > 1 {
                set_matrices(layout, sizes.matrices as i32, lies.matrices_apart as i64)?;
            }
            Ok(layout)
        };
        let by_rows = Lies {
            by_columns: false,
            apart: columns,
            matrices_apart: rows * columns,
        };
        let a = layout([rows, inner], sizes.a, operands)?;
        let b = layout([inner, columns], sizes.b, operands)?;
        let product = layout([rows, columns], by_rows, sizes.types.product())?;
        set(operation, Of::CUBLASLT_MATMUL_DESC_TRANSA, &transposed(sizes.b))?;
        set(operation, Of::CUBLASLT_MATMUL_DESC_TRANSB, &transposed(sizes.a))?;
        if sizes.biased {
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
            set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        }
        let (preference, workspace) = (cublaslt::create_matmul_pref()?, WORKSPACE);
        let prefer = |attribute, value: *const c_void, bytes| {
            // SAFETY: the preference was made above, and `value` points to so many bytes.
            unsafe { cublaslt::set_matmul_pref_attribute(preference, attribute, value, bytes) }
        };
        prefer(
            Prefer::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const workspace).cast(),
            size_of::<usize>(),
        )?;
        let [a_aligned, b_aligned, product_aligned] = &sizes.aligned;
        for (attribute, bytes) in [
            (Prefer::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b_aligned),
            (Prefer::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a_aligned),
            (
                Prefer::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                product_aligned,
            ),
            (
                Prefer::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                product_aligned,
            ),
        ] {
            prefer(attribute, std::ptr::from_ref(bytes).cast(), size_of::<u32>())?;
        }
        // SAFETY: all of these were made above.
        let found = unsafe {
            let found =
                cublaslt::get_matmul_algo_heuristic(handle, operation, b, a, product, product, preference);
            cublaslt::destroy_matmul_pref(preference)?;
            found?
        };
        Ok(Self {
            operation,
            a,
            b,
            product,
            algorithm: found.algo,
        })
    }
}

/// Lets `layout` be that of so many matrices, with so many numbers from one to the next.
fn set_matrices(
    layout: sys::cublasLtMatrixLayout_t,
    matrices: i32,
    apart: i64,
) -> Result<(), cublaslt::CublasError> {
    use sys::cublasLtMatrixLayoutAttribute_t as Of;

    // SAFETY: the layout was made just now, and these attributes are of these types.
    unsafe {
        cublaslt::set_matrix_layout_attribute(
            layout,
            Of::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
            (&raw const matrices).cast(),
            size_of::<i32>(),
        )?;
        cublaslt::set_matrix_layout_attribute(
            layout,
            Of::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
            (&raw const apart).cast(),
            size_of::<i64>(),
        )
    }
}

fn set<T>(
    operation: sys::cublasLtMatmulDesc_t,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    value: &T,
) -> Result<(), cublaslt::CublasError> {
    let value = std::ptr::from_ref(value);
    // SAFETY: plans are never given up, nor their operations; the attributes that are set here are of the types that they are given.
    unsafe { cublaslt::set_matmul_desc_attribute(operation, attribute, value.cast(), size_of::<T>()) }
}

fn failed(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
