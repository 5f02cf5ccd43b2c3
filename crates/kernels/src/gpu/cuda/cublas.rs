//! Products of matrices by NVIDIA's library cuBLASLt: every call of it in the house.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{LazyLock, PoisonError, RwLock};

use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl_common::device::DeviceId;
use cudarc::cublaslt::{result as cublaslt, sys};
use cudarc::driver::{CudaStream, result as driver, sys as driver_sys};

use super::{Fallible, Gpu, ask, contiguous, empty, failed, held, submit};

/// Bytes that a product may take beside its operands: what PyTorch allows it on Hopper GPUs.
const WORKSPACE: usize = 32 << 20;
/// Bytes that a thread reads at once: an address that is better aligned gains nothing, and would need a plan of its own.
const ALIGNMENT: u32 = 16;

/// The products of `a` `[.., m, k]` and `b` `[.., k, n]`, of the same type and as many, plus `bias` `[n]` and `added` `[.., m, n]`, as
/// numbers of the type `dtype`; none where the library is not there, or does not do it.
pub(super) fn product(
    a: &CubeTensor,
    b: &CubeTensor,
    bias: Option<&CubeTensor>,
    added: Option<&CubeTensor>,
    dtype: DType,
) -> Option<CubeTensor> {
    let (a, b) = (readable(a)?, readable(b)?);
    let product = Product::of([Operand::of(&a)?, Operand::of(&b)?], bias, added, dtype, &a)?;
    let [result] = submit([product.result.clone()], move |gpu, _| {
        let (a, b) = (held(&a)?, held(&b)?);
        product.make(gpu, [a.0, b.0])
    });
    Some(result)
}

/// What a product is to be made of, wherever it will be.
pub(super) struct Operand {
    shape: Shape,
    lies: Lies,
    dtype: DType,
    aligned: u32,
}

impl Operand {
    /// `x` where it is, or what lies as `x` does. None where the library cannot read it.
    pub(super) fn of(x: &CubeTensor) -> Option<Self> {
        Some(Self {
            shape: Shape::clone(x.meta.shape()),
            lies: Lies::of(x)?,
            dtype: x.dtype,
            aligned: aligned(x),
        })
    }

    /// The same in memory of its own, as numbers of another type.
    pub(super) fn rounded(self, dtype: DType) -> Self {
        match self.dtype == dtype {
            true => self,
            false => Self {
                dtype,
                aligned: ALIGNMENT,
                ..self
            },
        }
    }
}

/// A product that the library knows how to make.
pub(super) struct Product {
    bias: Option<CubeTensor>,
    added: Option<CubeTensor>,
    /// What [`Product::make`] writes.
    pub(super) result: CubeTensor,
    sizes: Sizes,
}

impl Product {
    /// As [`product`] says, on the GPU of `beside`.
    pub(super) fn of(
        [a, b]: [Operand; 2],
        bias: Option<&CubeTensor>,
        added: Option<&CubeTensor>,
        dtype: DType,
        beside: &CubeTensor,
    ) -> Option<Self> {
        let types = Types::of(a.dtype, dtype)?;
        let mut shape = a.shape;
        let last = shape.num_dims() - 1;
        let ([rows, inner], columns) = ([shape[last - 1], shape[last]], b.shape[last]);
        shape[last] = columns;
        let matrices: usize = shape.iter().take(last - 1).product();
        if matrices * rows * columns * inner == 0 {
            return None;
        }
        let [bias, added] = [bias, added].map(|x| x.map(contiguous));
        let sizes = Sizes {
            size: [rows, columns, inner],
            matrices,
            a: a.lies,
            b: b.lies,
            types,
            biased: bias.is_some(),
            added: added.is_some(),
            aligned: [a.aligned, b.aligned, added.as_ref().map_or(ALIGNMENT, aligned)],
        };
        known(beside.handle.service.device, sizes).then(|| Self {
            result: empty(beside, shape, dtype),
            bias,
            added,
            sizes,
        })
    }

    /// Has the GPU make it of what is at these addresses.
    pub(super) fn make(&self, gpu: &mut Gpu, [a, b]: [u64; 2]) -> Fallible<()> {
        let to = held(&self.result)?;
        let bias = self.bias.as_ref().map(held).transpose()?;
        let added = self.added.as_ref().map(held).transpose()?;
        let addresses = Addresses {
            a,
            b,
            bias: bias.as_ref().map(|bias| bias.0),
            added: added.as_ref().map(|added| added.0),
            product: to.0,
        };
        gpu.in_order(|gpu| match &gpu.library {
            Some(library) => library.make(&self.sizes, &addresses, &gpu.stream),
            None => Err("cuBLASLt is gone".to_owned()),
        })
    }
}

/// Bytes of which the address of `x` is a multiple: memory that burn gives out begins at a multiple of more.
fn aligned(x: &CubeTensor) -> u32 {
    let offset = x.handle.offset_start.unwrap_or(0);
    ALIGNMENT.min(1 << offset.trailing_zeros().min(ALIGNMENT.ilog2()))
}

/// Whether the library of a GPU knows how to make products of these sizes.
fn known(device: DeviceId, sizes: Sizes) -> bool {
    static KNOWN: LazyLock<RwLock<HashMap<(DeviceId, Sizes), bool>>> = LazyLock::new(RwLock::default);

    let all = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(&(device, sizes)) {
        return *known;
    }
    drop(all);
    let planned = ask(device, "some products", |gpu| match &mut gpu.library {
        Some(library) => library.plan(sizes).map(Some),
        None => Ok(None),
    });
    let mut all = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    *all.entry((device, sizes)).or_insert(planned.is_some())
}

/// The library on a GPU.
pub(super) struct Library {
    handle: sys::cublasLtHandle_t,
    workspace: driver_sys::CUdeviceptr,
    plans: HashMap<Sizes, Plan>,
}

// SAFETY: the library takes calls from any thread, one at a time for a stream; all are made by the thread of the GPU.
unsafe impl Send for Library {}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Types {
    Bf16,
    Bf16ToF32,
    F16,
    F16ToF32,
    F32,
}

impl Types {
    fn of(operands: DType, product: DType) -> Option<Self> {
        match (operands, product) {
            (DType::BF16, DType::BF16) => Some(Self::Bf16),
            (DType::BF16, DType::F32) => Some(Self::Bf16ToF32),
            (DType::F16, DType::F16) => Some(Self::F16),
            (DType::F16, DType::F32) => Some(Self::F16ToF32),
            (DType::F32, DType::F32) => Some(Self::F32),
            _ => None,
        }
    }

    fn operands(self) -> sys::cudaDataType {
        match self {
            Self::Bf16 | Self::Bf16ToF32 => sys::cudaDataType::CUDA_R_16BF,
            Self::F16 | Self::F16ToF32 => sys::cudaDataType::CUDA_R_16F,
            Self::F32 => sys::cudaDataType::CUDA_R_32F,
        }
    }

    fn product(self) -> sys::cudaDataType {
        match self {
            Self::Bf16 => sys::cudaDataType::CUDA_R_16BF,
            Self::F16 => sys::cudaDataType::CUDA_R_16F,
            Self::Bf16ToF32 | Self::F16ToF32 | Self::F32 => sys::cudaDataType::CUDA_R_32F,
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
fn readable(x: &CubeTensor) -> Option<CubeTensor> {
    let x = match Lies::of(x) {
        Some(_) => x.clone(),
        None => contiguous(x),
    };
    Lies::of(&x).is_some().then_some(x)
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
    added: bool,
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
    pub(super) fn open() -> Fallible<Self> {
        // SAFETY: looks for a library and opens it.
        if !unsafe { sys::is_culib_present() } {
            return Err("it is not found: put libcublasLt, of the CUDA toolkit or of PyTorch, where LD_LIBRARY_PATH leads".to_owned());
        }
        Ok(Self {
            handle: cublaslt::create_handle().map_err(failed)?,
            // SAFETY: memory that is written before it is read, by the library alone.
            workspace: unsafe { driver::malloc_sync(WORKSPACE) }.map_err(failed)?,
            plans: HashMap::new(),
        })
    }

    /// Finds out how to make products of these sizes.
    fn plan(&mut self, sizes: Sizes) -> Fallible<()> {
        let plan = Plan::new(self.handle, &sizes).map_err(|error| failed((sizes.size, error)))?;
        self.plans.insert(sizes, plan);
        Ok(())
    }

    fn make(&self, sizes: &Sizes, addresses: &Addresses, stream: &CudaStream) -> Fallible<()> {
        let plan = self.plans.get(sizes).ok_or("a product that was not planned")?;
        let found = [
            addresses.a,
            addresses.b,
            addresses.product | addresses.added.unwrap_or(0),
        ];
        let fits = |(address, aligned): (u64, u32)| address.is_multiple_of(aligned.into());
        if !found.into_iter().zip(sizes.aligned).all(fits) {
            return Err(format!(
                "addresses {found:x?} are to be multiples of {:?}",
                sizes.aligned
            ));
        }
        self.run(plan, addresses, stream)
    }

    fn run(&self, plan: &Plan, addresses: &Addresses, stream: &CudaStream) -> Fallible<()> {
        if let Some(bias) = addresses.bias {
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
            set(plan.operation, attribute, &bias).map_err(failed)?;
        }
        let one = 1f32;
        let share_of_added = f32::from(u8::from(addresses.added.is_some()));
        let added = addresses.added.unwrap_or(addresses.product);
        // SAFETY: the stream is of this context; the addresses are those of memory that is held, as large as the layouts say. The
        // library's matrices lie by columns: it makes the transposed product, of `b` and `a`.
        unsafe {
            cublaslt::matmul(
                self.handle,
                plan.operation,
                (&raw const one).cast(),
                (&raw const share_of_added).cast(),
                addresses.b as *const c_void,
                plan.b,
                addresses.a as *const c_void,
                plan.a,
                added as *const c_void,
                plan.product,
                addresses.product as *mut c_void,
                plan.product,
                &raw const plan.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        }
        .map_err(failed)
    }
}

/// Of the operands of a product, in the GPU's memory.
struct Addresses {
    a: u64,
    b: u64,
    bias: Option<u64>,
    added: Option<u64>,
    product: u64,
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
