//! A data set for tests that knows its samples by number.

use std::sync::Arc;

use blip2_data::pixels::RgbImage;
use blip2_data::sets::{Dataset, Picture, Sample, SampleError};

/// Samples `name 0`, `name 1`, ...: of two colours, with as many captions as the number modulo three, those in `damaged` damaged.
pub(crate) struct Numbers {
    pub(crate) name: &'static str,
    pub(crate) runs: Vec<u64>,
    pub(crate) damaged: Vec<u64>,
}

impl Numbers {
    pub(crate) fn new(name: &'static str, runs: &[u64]) -> Self {
        Self {
            name,
            runs: runs.to_vec(),
            damaged: Vec::new(),
        }
    }
}

impl Dataset for Numbers {
    fn name(&self) -> &str {
        self.name
    }

    fn len(&self) -> u64 {
        self.runs.iter().sum()
    }

    fn runs(&self) -> Vec<u64> {
        self.runs.clone()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let key = format!("{} {index}", self.name);
        if self.damaged.contains(&index) {
            return Err(SampleError {
                key,
                reason: "picture_empty",
                problem: "on purpose".into(),
            });
        }
        let pixels = RgbImage::from_fn(20 + index as u32 % 7, 16, |x, y| {
            image::Rgb([(x * 11) as u8, (y * 13) as u8, index as u8])
        });
        Ok(Sample {
            texts: (0..index % 3)
                .map(|number| format!("caption {number} of {key}"))
                .collect(),
            picture: Picture::Pixels(Arc::new(pixels)),
            question: None,
            image_id: None,
            key,
        })
    }

    fn fingerprint(&self) -> String {
        format!("{} {:?}", self.name, self.runs)
    }
}
