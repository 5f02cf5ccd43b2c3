//! `blip2.load`.

use std::path::PathBuf;
use std::sync::Arc;

use blip2::{Blip2, DecodeOptions, LoadPlan, MAX_PIXELS, NumberFormat, Packing, StopFlag, home, locate};
use blip2_core::devices::{Choice, Engine, fastest};
use blip2_hub::{Event, obtain};
use blip2_mini::registry;
use burn::tensor::Device;
use pyo3::prelude::*;

use crate::failure::Failure;
use crate::model::Model;
use crate::work::done;

/// The number formats, as the command line calls them.
const FORMATS: [(&str, NumberFormat); 5] = [
    ("auto", NumberFormat::Stored),
    ("f32", NumberFormat::F32),
    ("bf16", NumberFormat::Packed(Packing::Bf16)),
    ("int8", NumberFormat::Packed(Packing::Int8)),
    ("int4", NumberFormat::Packed(Packing::Int4)),
];

/// Loads a model, found as the command line finds it: a model folder, the run folder of a training run, a folder written by
/// `transformers`, or the name of one on the hub, which the local Hugging Face cache holds.
///
/// The language model is read when it is first asked.
///
/// Args:
///     model: path or name, such as `"Salesforce/blip2-opt-2.7b"`.
///     device: where to compute: `"auto"` (the fastest that works here), `"flex"` (the CPU), `"cuda"`, `"wgpu"`, `"libtorch"`.
///     dtype: number format of the frozen models: `"auto"` (as they are stored), `"f32"`, `"bf16"`, `"int8"`, `"int4"`.
///     download: fetch first what the cache lacks of a name on the hub; the logger `blip2` tells of it.
///     revision: branch, tag or whole commit hash of a name on the hub.
///     exif: turn pictures upright as their EXIF block says.
///     max_pixels: refuse files of more pixels than this, before memory is taken.
///
/// Raises:
///     NotFoundError: there is no such model here.
///     DownloadError: it could not be fetched.
///     InputError: a device or number format that there is none of.
///     DeviceError: the device cannot be used here.
///     Blip2Error: the model's files are damaged or contradict each other.
#[pyfunction]
#[pyo3(signature = (model, *, device="auto", dtype="auto", download=false, revision=None, exif=true, max_pixels=MAX_PIXELS))]
#[expect(clippy::too_many_arguments, reason = "each is a keyword")]
pub(crate) fn load(
    py: Python<'_>,
    model: PathBuf,
    device: &str,
    dtype: &str,
    download: bool,
    revision: Option<String>,
    exif: bool,
    max_pixels: u64,
) -> PyResult<Model> {
    let format = number_format(dtype)?;
    let device = device.to_owned();
    let way = match exif {
        true => DecodeOptions::upright(),
        false => DecodeOptions::as_stored(),
    };
    done(py, StopFlag::default(), move || {
        let folder = match download {
            true => obtain(&model, revision.as_deref(), &mut tell)?,
            false => locate(&model, revision.as_deref())?,
        };
        let (engine, device) = open(&device)?;
        let home = home()?;
        let packing = format.choose(&folder, &home, &device)?.packing;
        let plan = LoadPlan::from(&device).packed(packing);
        let loaded = Blip2::from_pretrained_with(&folder, &home, plan, &registry())?;
        Ok(Model {
            model: Arc::new(loaded),
            name: model.display().to_string(),
            device: engine.name(),
            dtype: format_name(packing.map_or(NumberFormat::F32, NumberFormat::Packed)),
            reading: DecodeOptions { max_pixels, ..way },
        })
    })
}

fn number_format(name: &str) -> Result<NumberFormat, Failure> {
    let found = FORMATS.iter().find(|(known, _)| *known == name);
    let names = FORMATS.map(|(name, _)| name).join(", ");
    let reason = || Failure::input(format!("dtype=\"{name}\" is no number format: there are {names}"));
    found.map(|(_, format)| *format).ok_or_else(reason)
}

fn format_name(format: NumberFormat) -> &'static str {
    let found = FORMATS.iter().find(|(_, known)| *known == format);
    found.map_or("auto", |(name, _)| name)
}

fn open(name: &str) -> Result<(Engine, Device), Failure> {
    if name == "auto" {
        let Choice { engine, device, .. } = fastest(0);
        return Ok((engine, device));
    }
    let engine: Engine = name.parse()?;
    let device = engine.open(0).map_err(|source| Failure::Device {
        name: name.to_owned(),
        source,
    })?;
    Ok((engine, device))
}

/// Tells the logger `blip2` what happens during a download.
fn tell(event: Event) {
    let (level, message) = match event {
        Event::File(file) => ("info", format!("fetching {file}")),
        Event::Waiting(lock) => (
            "warning",
            format!("waiting for another process that holds {}", lock.display()),
        ),
        Event::Retrying(error, pause) => (
            "warning",
            format!("trying again in {} s: {error}", pause.as_secs_f32()),
        ),
        Event::Total(bytes) => ("info", format!("{bytes} bytes in all")),
        // How far it is, and what else there may come to be.
        _ => return,
    };
    // A logger that fails is no reason to fetch nothing.
    let _ = Python::try_attach(|py| {
        let logger = py.import("logging")?.call_method1("getLogger", ("blip2",))?;
        logger.call_method1(level, (message,)).map(drop)
    });
}
