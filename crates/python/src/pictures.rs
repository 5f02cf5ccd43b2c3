//! Pictures as Python has them: paths, the bytes of files, PIL images, numpy arrays.

use std::path::PathBuf;

use blip2::{DecodeOptions, Orientation, PixelsError, RgbImage, open_picture};
use blip2_data::pixels::decode;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyTuple};

use crate::failure::Failure;

/// A picture that is read when it is looked at: many need not be in memory at a time. Names are what errors call them.
pub(crate) enum Picture {
    File(PathBuf),
    /// What a file would hold.
    Bytes(Vec<u8>, String),
    /// Of PIL.
    Image(Py<PyAny>, String),
    /// Of numpy.
    Array(Py<PyAny>, String),
}

/// Those that a call is about.
pub(crate) struct Pictures {
    pub(crate) pictures: Vec<Picture>,
    /// Whether they came as a list, so that results go as one.
    pub(crate) several: bool,
}

impl Picture {
    /// Takes the GIL for what is Python's.
    ///
    /// # Errors
    /// [`PixelsError`] where it cannot be read.
    pub(crate) fn open(&self, options: DecodeOptions) -> Result<RgbImage, PixelsError> {
        let (object, name) = match self {
            Self::File(path) => return open_picture(path, options),
            Self::Bytes(bytes, name) => return decode(bytes, name, options),
            Self::Image(object, name) | Self::Array(object, name) => (object, name),
        };
        let read = Python::try_attach(|py| match self {
            Self::Image(..) => of_pil(object.bind(py), options.orientation),
            _ => of_array(object.bind(py)),
        });
        let damaged = |reason: String| PixelsError::Damaged {
            name: name.clone(),
            reason,
        };
        let read = read.ok_or_else(|| damaged("Python is about to end".to_owned()))?;
        read.map_err(|error| damaged(error.to_string()))
    }

    /// `value` as a picture; `place` is where it stands in a list.
    ///
    /// # Errors
    /// `TypeError` for what is none, [`Failure::Input`] for an array of another shape.
    pub(crate) fn read(value: &Bound<'_, PyAny>, place: Option<usize>) -> PyResult<Self> {
        let name = || {
            place.map_or("the picture".to_owned(), |place| {
                format!("picture {place} of the list")
            })
        };
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes().to_vec(), name()));
        }
        if let Ok(bytes) = value.cast::<PyByteArray>() {
            return Ok(Self::Bytes(bytes.to_vec(), name()));
        }
        if is_of(value, "PIL.Image", "Image")? {
            return Ok(Self::Image(value.clone().unbind(), name()));
        }
        if is_of(value, "numpy", "ndarray")? {
            check_array(value, &name())?;
            return Ok(Self::Array(value.clone().unbind(), name()));
        }
        match value.extract::<PathBuf>() {
            Ok(path) => Ok(Self::File(path)),
            Err(_) => Err(PyTypeError::new_err(format!(
                "{} is a {}: a picture is a path, the bytes of a file, a PIL image, or a numpy array of uint8",
                name(),
                value.get_type().qualname()?
            ))),
        }
    }
}

impl Pictures {
    /// `value` as a picture or a list of them; an array of four dimensions is a list, too.
    ///
    /// # Errors
    /// As for [`Picture::read`].
    pub(crate) fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let several = value.is_instance_of::<PyList>()
            || value.is_instance_of::<PyTuple>()
            || (is_of(value, "numpy", "ndarray")? && value.getattr("ndim")?.extract::<usize>()? == 4);
        let pictures = match several {
            true => {
                let items = value.try_iter()?.enumerate();
                let read = items.map(|(place, item)| {
                    // A long list is also a while in which somebody may press Ctrl-C.
                    value.py().check_signals()?;
                    Picture::read(&item?, Some(place))
                });
                read.collect::<PyResult<_>>()?
            }
            false => vec![Picture::read(value, None)?],
        };
        Ok(Self { pictures, several })
    }
}

/// Whether `value` is a `class` of a `module` that somebody has imported.
fn is_of(value: &Bound<'_, PyAny>, module: &str, class: &str) -> PyResult<bool> {
    let py = value.py();
    let modules = py.import("sys")?.getattr(intern!(py, "modules"))?;
    match modules.get_item(module) {
        Ok(module) => value.is_instance(&module.getattr(class)?),
        Err(_) => Ok(false),
    }
}

/// A PIL image, turned upright by its own note as a file is.
fn of_pil(image: &Bound<'_, PyAny>, orientation: Orientation) -> PyResult<RgbImage> {
    let upright = match orientation {
        Orientation::Upright => {
            let operations = image.py().import("PIL.ImageOps")?;
            operations.call_method1("exif_transpose", (image,))?
        }
        Orientation::AsStored => image.clone(),
    };
    let rgb = upright.call_method1("convert", ("RGB",))?;
    let (width, height) = rgb.getattr("size")?.extract()?;
    pixels(width, height, &rgb.call_method0("tobytes")?)
}

/// # Errors
/// [`Failure::Input`] for an array that [`of_array`] does not take.
fn check_array(array: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
    let kind: String = array.getattr("dtype")?.getattr("name")?.extract()?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    let reason = match shape[..] {
        _ if kind != "uint8" => "give uint8, 0 to 255",
        _ if shape.contains(&0) => "it shows nothing",
        [_, _] | [_, _, 1 | 3 | 4] => return Ok(()),
        [3, _, _] => "channels come last, array.transpose(1, 2, 0)",
        _ => "give [height, width, 3]",
    };
    Err(Failure::Input(format!("{name} is an array of {kind} {shape:?}: {reason}")).into())
}

/// `[height, width]` or `[height, width, channels]` of `uint8`: grey, RGB, or RGBA, whose opacity is dropped as PIL does.
fn of_array(array: &Bound<'_, PyAny>) -> PyResult<RgbImage> {
    let numpy = array.py().import("numpy")?;
    let shape: Vec<u32> = array.getattr("shape")?.extract()?;
    let rgb = match shape[..] {
        [height, width] | [height, width, 1] => {
            let grey = array.call_method1("reshape", (height, width, 1))?;
            numpy.call_method1("repeat", (grey, 3, 2))?
        }
        [_, _, 4] => numpy.call_method1("delete", (array, 3, 2))?,
        _ => array.clone(),
    };
    let (height, width, _): (u32, u32, u32) = rgb.getattr("shape")?.extract()?;
    pixels(width, height, &rgb.call_method0("tobytes")?)
}

/// The picture of `bytes`, row by row.
fn pixels(width: u32, height: u32, bytes: &Bound<'_, PyAny>) -> PyResult<RgbImage> {
    let bytes = bytes.cast::<PyBytes>()?.as_bytes().to_vec();
    let wrong = || Failure::input(format!("{width}x{height} pixels are other than its bytes"));
    Ok(RgbImage::from_raw(width, height, bytes).ok_or_else(wrong)?)
}
