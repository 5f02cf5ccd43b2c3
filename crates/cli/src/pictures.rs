//! How picture files are read.

use std::path::Path;

use blip2::{DecodeOptions, MAX_PIXELS, PixelsError, RgbImage, open_picture};
use blip2_data::pixels::decode;
use clap::Args;

#[derive(Args)]
pub(crate) struct PictureArguments {
    /// Take pictures as they lie in the file, as LAVIS does; else they are turned upright as their EXIF block says
    #[arg(long)]
    no_exif: bool,
    /// Refuse pictures of more pixels than this, before memory is taken
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS)]
    max_pixels: u64,
}

impl PictureArguments {
    /// The picture in `file`.
    pub(crate) fn open(&self, file: &Path) -> Result<RgbImage, PixelsError> {
        open_picture(file, self.options())
    }

    /// The picture in `bytes`; `name` appears in errors.
    pub(crate) fn decode(&self, bytes: &[u8], name: &str) -> Result<RgbImage, PixelsError> {
        decode(bytes, name, self.options())
    }

    /// These options, for records.
    pub(crate) fn words(&self) -> String {
        format!("{:?}", self.options())
    }

    fn options(&self) -> DecodeOptions {
        let way = if self.no_exif {
            DecodeOptions::as_stored()
        } else {
            DecodeOptions::upright()
        };
        let max_pixels = self.max_pixels;
        DecodeOptions { max_pixels, ..way }
    }
}
