//! Vectors for numpy, which takes them as they lie in memory.

use std::ptr;

use burn::tensor::TensorData;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;

/// Numbers that numpy looks into; they are freed with the last array that does.
#[pyclass(frozen, module = "blip2")]
struct Numbers {
    /// Owned. A pointer and no box: numpy writes to it.
    first: *mut f32,
    len: usize,
    shape: Vec<usize>,
}

// SAFETY: here the pointer is only handed on and freed; who reads and writes behind it is Python's business, under its GIL.
unsafe impl Send for Numbers {}
// SAFETY: as above.
unsafe impl Sync for Numbers {}

impl Drop for Numbers {
    fn drop(&mut self) {
        let numbers = ptr::slice_from_raw_parts_mut(self.first, self.len);
        // SAFETY: `array` made it out of such a box, and arrays hold this object as long as they use it.
        drop(unsafe { Box::from_raw(numbers) });
    }
}

#[pymethods]
impl Numbers {
    /// How numpy finds them: <https://numpy.org/doc/stable/reference/arrays.interface.html>.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item(
            "typestr",
            if cfg!(target_endian = "little") {
                "<f4"
            } else {
                ">f4"
            },
        )?;
        interface.set_item("shape", pyo3::types::PyTuple::new(py, &self.shape)?)?;
        interface.set_item("data", (self.first.expose_provenance(), false))?;
        Ok(interface)
    }
}

/// `data` as a numpy array, without a copy where it holds single precision already.
///
/// # Errors
/// Where numpy cannot be imported.
pub(crate) fn array<'py>(py: Python<'py>, data: TensorData) -> PyResult<Bound<'py, PyAny>> {
    let shape = data.shape().to_vec();
    let numbers: Vec<f32> = data
        .convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|error| Failure::Panicked(error.to_string()))?;
    let len = numbers.len();
    let first = Box::into_raw(numbers.into_boxed_slice()).cast();
    let numbers = Numbers { first, len, shape };
    py.import("numpy")?
        .call_method1("asarray", (Py::new(py, numbers)?,))
}
