//! The image processor of a model folder: to what size pictures are brought and how they are normalised.

use super::{PixelsError, RgbImage, resize};
use blip2_core::files;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::path::Path;

/// The mean and deviation of CLIP's training pictures (RGB, 0 to 1), which every BLIP-2 encoder was fed with.
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// What tells the settings of an image processor from a file that only says which processor it was.
const SETTINGS: [&str; 3] = ["image_processor", "size", "image_mean"];
/// `Image.BICUBIC` in Pillow's numbering, which `resample` uses.
const BICUBIC: u32 = 3;

/// Squashes a picture to one size and normalises it: `Resize((S, S))` bicubic, 0..1, `Normalize` (LAVIS's
/// `blip_image_eval`, transformers' `BlipImageProcessor`).
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What is taken from each channel (RGB, of values 0 to 1).
    pub mean: [f32; 3],
    /// What each channel is divided by.
    pub std: [f32; 3],
}

/// `processor_config.json` nests what `preprocessor_config.json` holds at the top.
#[derive(Deserialize)]
struct NestedFile<Settings> {
    image_processor: Settings,
}

/// What a processor of any kind says of its pixels.
#[derive(Deserialize)]
struct StatisticsFile {
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    do_normalize: Option<bool>,
    rescale_factor: Option<f64>,
    crop_size: Option<AnySize>,
    do_center_crop: Option<bool>,
    size: Option<AnySize>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum AnySize {
    Rectangle { height: u32, width: u32 },
    Shortest { shortest_edge: u32 },
    Square(u32),
}

#[derive(Deserialize)]
struct SettingsFile {
    size: SizeFile,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    #[serde(default = "bicubic")]
    resample: u32,
    rescale_factor: Option<f64>,
    do_center_crop: Option<bool>,
    do_resize: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SizeFile {
    Rectangle { height: u32, width: u32 },
    Square(u32),
}

fn bicubic() -> u32 {
    BICUBIC
}

/// The text of the file at `path`, and what to call it.
fn read(path: &Path) -> Result<(String, String), PixelsError> {
    let name = path.display().to_string();
    let bytes = files::read(path).map_err(|source| refused(&name, format!("cannot be read: {source}")))?;
    let text = String::from_utf8(bytes).map_err(|error| refused(&name, error))?;
    Ok((text, name))
}

fn refused(name: &str, reason: impl ToString) -> PixelsError {
    PixelsError::Configuration {
        name: name.to_owned(),
        reason: reason.to_string(),
    }
}

/// The text that holds the settings of the image processor in `folder`, and what to call it.
fn settings(folder: &Path) -> Result<(String, String), PixelsError> {
    let nested = folder.join("processor_config.json");
    let plain = folder.join("preprocessor_config.json");
    if nested.is_file() {
        let (text, name) = read(&nested)?;
        let whole: serde_json::Value = serde_json::from_str(&text).map_err(|error| refused(&name, error))?;
        if SETTINGS.iter().any(|key| says(&whole, key)) {
            return Ok((text, name));
        }
        if !plain.is_file() {
            let reason = "it holds no `image_processor`, and beside it is no preprocessor_config.json that does; copy that \
                          file from where the model comes from";
            return Err(refused(&name, reason));
        }
    }
    read(&plain)
}

/// Whether `file` says anything under `key`.
fn says(file: &serde_json::Value, key: &str) -> bool {
    file.get(key).is_some_and(|value| !value.is_null())
}

/// What `text` says of its image processor, nested or not.
fn parse<Settings: DeserializeOwned>(text: &str, name: &str) -> Result<Settings, PixelsError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| refused(name, error))?;
    let parsed = if says(&value, "image_processor") {
        serde_json::from_value::<NestedFile<Settings>>(value).map(|nested| nested.image_processor)
    } else {
        serde_json::from_value(value)
    };
    parsed.map_err(|error| refused(name, format!("{error} (a size of height and width is expected)")))
}

/// # Errors
/// The reason against values that are not 0 to 1 before they are normalised, or that are divided by 0.
fn check_scale(rescale_factor: Option<f64>, std: &[f32; 3]) -> Result<(), String> {
    if rescale_factor.is_some_and(|factor| (factor * 255.0 - 1.0).abs() > 1e-6) {
        return Err("rescale_factor must be 1/255".into());
    }
    if std.contains(&0.0) {
        return Err("image_std holds a 0".into());
    }
    Ok(())
}

impl ImageProcessor {
    /// A square of `side` pixels with CLIP's normalisation.
    pub fn clip_square(side: u32) -> Self {
        Self {
            width: side,
            height: side,
            mean: CLIP_MEAN,
            std: CLIP_DEVIATION,
        }
    }

    /// Reads the image processor of a model folder: the one in `processor_config.json` where that file holds one, as
    /// `transformers` writes it since version 5; else `preprocessor_config.json`.
    ///
    /// # Errors
    /// If neither can be read or the file asks for steps this processor does not do.
    pub fn from_folder(folder: &Path) -> Result<Self, PixelsError> {
        let (text, name) = settings(folder)?;
        Self::from_json(&text, &name)
    }

    /// Mean and deviation of the image processor of a model folder, for pictures that are squashed to `side` x `side` pixels, as
    /// BLIP-2 brings them to any encoder, whatever crop or shortest edge the file names. Without `side`, to the size of that crop,
    /// else to the size that the file names.
    ///
    /// # Errors
    /// If no processor file can be read, or it names no mean, deviation or size.
    pub fn squashing(folder: &Path, side: Option<u32>) -> Result<Self, PixelsError> {
        let (text, name) = settings(folder)?;
        let file: StatisticsFile = parse(&text, &name)?;
        let absent = |key: &str| {
            let reason = format!(
                "it holds no `{key}`, so that nobody knows what pixels the encoder was trained with; copy the processor file from \
                 where the model comes from"
            );
            refused(&name, reason)
        };
        let (mean, std) = match file.do_normalize {
            Some(false) => ([0.0; 3], [1.0; 3]),
            _ => (
                file.image_mean.ok_or_else(|| absent("image_mean"))?,
                file.image_std.ok_or_else(|| absent("image_std"))?,
            ),
        };
        check_scale(file.rescale_factor, &std).map_err(|reason| refused(&name, reason))?;
        let crop = file.crop_size.filter(|_| file.do_center_crop != Some(false));
        let (width, height) = match (side, crop.or(file.size)) {
            (Some(side), _) | (None, Some(AnySize::Square(side))) => (side, side),
            (None, Some(AnySize::Shortest { shortest_edge })) => (shortest_edge, shortest_edge),
            (None, Some(AnySize::Rectangle { height, width })) => (width, height),
            (None, None) => return Err(absent("size")),
        };
        Ok(Self {
            width,
            height,
            mean,
            std,
        })
    }

    /// Reads the text of either configuration file; `name` appears in errors.
    ///
    /// # Errors
    /// If a key is missing or malformed, or asks for steps this processor does not do (another filter, a centre crop,
    /// a size by shortest edge): following it only in part would change what the encoder sees.
    pub fn from_json(text: &str, name: &str) -> Result<Self, PixelsError> {
        let refuse = |reason: String| refused(name, reason);
        let file: SettingsFile = parse(text, name)?;
        if file.resample != BICUBIC {
            return Err(refuse(format!(
                "resample is {}, only {BICUBIC} (bicubic) is done",
                file.resample
            )));
        }
        if file.do_center_crop == Some(true) {
            return Err(refuse(
                "do_center_crop is true, but pictures are squashed, not cropped".into(),
            ));
        }
        let steps = [
            ("do_resize", file.do_resize),
            ("do_rescale", file.do_rescale),
            ("do_normalize", file.do_normalize),
        ];
        for (key, setting) in steps {
            if setting == Some(false) {
                return Err(refuse(format!(
                    "{key} is false, but this processor always does it"
                )));
            }
        }
        let (width, height) = match file.size {
            SizeFile::Rectangle { height, width } => (width, height),
            SizeFile::Square(side) => (side, side),
        };
        if width == 0 || height == 0 {
            return Err(refuse(format!("size is {width}x{height}")));
        }
        let std = file.image_std.unwrap_or(CLIP_DEVIATION);
        check_scale(file.rescale_factor, &std).map_err(refuse)?;
        Ok(Self {
            width,
            height,
            mean: file.image_mean.unwrap_or(CLIP_MEAN),
            std,
        })
    }

    /// Resizes and normalises one picture: values of `[3, height, width]`, row-major.
    ///
    /// # Errors
    /// If this processor's own width or height is 0.
    pub fn process(&self, picture: &RgbImage) -> Result<Vec<f32>, PixelsError> {
        Ok(self.normalise(&resize(picture, self.width, self.height)?))
    }

    /// Normalises without resizing: values of `[3, height, width]` of the picture as it is, row-major.
    pub fn normalise(&self, picture: &RgbImage) -> Vec<f32> {
        let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - self.mean[channel]) / self.std[channel])
        });
        let (pixels, _) = picture.as_raw().as_chunks::<3>();
        let mut values = vec![0.0; 3 * pixels.len()];
        let (red, others) = values.split_at_mut(pixels.len());
        let (green, blue) = others.split_at_mut(pixels.len());
        for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
            [*red, *green, *blue] =
                std::array::from_fn(|channel| tables[channel][usize::from(pixel[channel])]);
        }
        values
    }

    /// Resizes and normalises pictures into one tensor `[batch, 3, height, width]`.
    ///
    /// # Errors
    /// If this processor's own width or height is 0.
    pub fn batch<P: Borrow<RgbImage>>(
        &self,
        pictures: &[P],
        device: &Device,
    ) -> Result<Tensor<4>, PixelsError> {
        let mut values = Vec::with_capacity(pictures.len() * 3 * (self.width * self.height) as usize);
        for picture in pictures {
            values.extend(self.process(picture.borrow())?);
        }
        let shape = [pictures.len(), 3, self.height as usize, self.width as usize];
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }
}
