//! Putting a store's tensors into a module: all of them, or none.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{AllocationProperty, Bytes, DType, Tensor, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::{NameMap, TensorStore, WeightError, is_buffer, parameters};

/// What a load may leave open, and in which number format the parameters are kept.
#[derive(Clone, Copy)]
pub struct LoadOptions {
    /// Parameters (by our path) that may be absent from the store and then keep their value.
    pub optional: fn(&str) -> bool,
    /// Number format to hold the parameters in; `None` keeps the file's own.
    pub dtype: Option<DType>,
}

impl Default for LoadOptions {
    /// Every parameter must be there, and is held as f32.
    fn default() -> Self {
        Self {
            optional: |_| false,
            dtype: Some(DType::F32),
        }
    }
}

/// Loads `module`'s parameters from `store` and returns the module filled.
///
/// # Errors
/// [`WeightError::Mismatch`] lists every missing, unexpected and mis-shaped tensor at once; reading errors come as they are.
/// Nothing is built before all names and shapes are known to fit.
pub fn load<M: Module>(
    module: M,
    store: &dyn TensorStore,
    names: &NameMap,
    options: LoadOptions,
) -> Result<M, WeightError> {
    let plan = plan(&module, store, names, options)?;
    let mut fill = Fill {
        path: Vec::new(),
        as_stored: false,
        plan,
        store,
        dtype: options.dtype,
        failure: None,
    };
    let module = module.map(&mut fill);
    fill.failure.map_or(Ok(module), Err)
}

/// Whether the tensors of `store` are those of `module`, as [`load`] would want them, by names and shapes alone: nothing is
/// read or built.
///
/// # Errors
/// [`WeightError::Mismatch`] as from [`load`].
pub fn check<M: Module>(
    module: &M,
    store: &dyn TensorStore,
    names: &NameMap,
    options: LoadOptions,
) -> Result<(), WeightError> {
    plan(module, store, names, options).map(drop)
}

/// Which tensor goes to which parameter.
fn plan<M: Module>(
    module: &M,
    store: &dyn TensorStore,
    names: &NameMap,
    options: LoadOptions,
) -> Result<BTreeMap<String, String>, WeightError> {
    let mut plan = BTreeMap::new();
    let mut known = BTreeSet::new();
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for parameter in parameters(module) {
        let Some(name) = (names.rename)(&parameter.path) else {
            continue;
        };
        match store.tensors().get(&name) {
            None if (options.optional)(&parameter.path) => {}
            None => missing.push(name.clone()),
            Some(info) if info.shape != parameter.shape => {
                misshapen.push(format!(
                    "{name}: {:?} in the file, {:?} in the model",
                    info.shape, parameter.shape
                ));
            }
            Some(_) => {
                plan.insert(parameter.path, name.clone());
            }
        }
        known.insert(name);
    }
    let unexpected: Vec<String> = store
        .tensors()
        .keys()
        .filter(|name| !known.contains(*name) && !(names.ignored)(name) && !is_buffer(name))
        .cloned()
        .collect();
    if !(missing.is_empty() && unexpected.is_empty() && misshapen.is_empty()) {
        return Err(WeightError::Mismatch {
            file: store.label(),
            missing,
            unexpected,
            misshapen,
        });
    }
    Ok(plan)
}

/// A module that calls itself a container of this type is no part of a path: the loader gives the parameter in it its numbers as
/// the file has them, in f32, f16 or bf16, and does not copy them out of the file, since the parameter is not going to keep
/// them.
pub(crate) const AS_STORED: &str = "AsStored";

struct Fill<'a> {
    path: Vec<String>,
    as_stored: bool,
    plan: BTreeMap<String, String>,
    store: &'a dyn TensorStore,
    dtype: Option<DType>,
    failure: Option<WeightError>,
}

impl Fill<'_> {
    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let data = self.store.read(name)?;
        if self.as_stored && matches!(data.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Ok(data);
        }
        Ok(match self.dtype {
            Some(DType::F32) => single_precision(data),
            Some(dtype) => owned(data.convert_dtype(dtype)),
            None => owned(data),
        })
    }
}

/// The same numbers in memory of their own: a model does not depend on its file once it is loaded.
fn owned(data: TensorData) -> TensorData {
    if data.bytes().property() != AllocationProperty::File {
        return data;
    }
    let (bytes, shape, dtype) = data.into_parts();
    TensorData::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()), shape, dtype)
}

/// The same numbers as f32, in memory of their own.
fn single_precision(data: TensorData) -> TensorData {
    /// Numbers that one task widens.
    const CHUNK: usize = 1 << 16;
    fn widened<T: Sync>(values: &[T], widen: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
        let mut wide = vec![0.0; values.len()];
        let chunks = wide.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK));
        chunks.for_each(|(wide, values)| widen(values, wide));
        wide
    }
    let wide = match data.dtype() {
        DType::F16 => data
            .as_slice::<f16>()
            .map(|values| widened(values, |values, wide| values.convert_to_f32_slice(wide))),
        DType::BF16 => data
            .as_slice::<bf16>()
            .map(|values| widened(values, |values, wide| values.convert_to_f32_slice(wide))),
        DType::F32 => return owned(data),
        _ => return data.convert_dtype(DType::F32),
    };
    match wide {
        Ok(wide) => TensorData::new(wide, data.shape().to_vec()),
        Err(_) => data.convert_dtype(DType::F32),
    }
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        match container {
            AS_STORED => self.as_stored = true,
            _ => self.path.push(name.to_owned()),
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        match container {
            AS_STORED => self.as_stored = false,
            _ => drop(self.path.pop()),
        }
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = self
            .plan
            .get(&self.path.join("."))
            .filter(|_| self.failure.is_none())
        else {
            return parameter;
        };
        match self.read(name) {
            Ok(data) => {
                let dtype = data.dtype();
                let tensor = Tensor::from_data(data, (&parameter.lazy_device(), dtype));
                let id = parameter.id;
                parameter.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.failure = Some(error);
                parameter
            }
        }
    }
}
