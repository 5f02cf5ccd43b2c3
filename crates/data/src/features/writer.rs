//! Writing a store: under a temporary name, renamed when it is whole.

use super::{FeatureError, FeatureStore, HALF_BYTES, KEY, LENGTH_BYTES, TENSOR};
use burn::tensor::Tensor;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A store in the making. Dropped before [`FeatureWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct FeatureWriter {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    key: String,
    count: usize,
    tokens: usize,
    width: usize,
    written: usize,
}

impl FeatureWriter {
    /// Begins a store of `count` rows of `[tokens, width]` under a content key (see [`super::content_key`]).
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(
        path: &Path,
        key: &str,
        count: usize,
        tokens: usize,
        width: usize,
    ) -> Result<Self, FeatureError> {
        // The process's number keeps two runs that fill the same store apart; the later rename wins.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let failed = |source| FeatureError::Write {
            path: partial.clone(),
            source,
        };
        let mut file = BufWriter::new(File::create(&partial).map_err(failed)?);
        let written = file.write_all(&header(key, [count, tokens, width]));
        let writer = Self {
            path: path.to_owned(),
            partial,
            file,
            key: key.to_owned(),
            count,
            tokens,
            width,
            written: 0,
        };
        written.map_err(|source| writer.failed(source))?;
        Ok(writer)
    }

    /// Appends features `[rows, tokens, width]`, of any float type.
    ///
    /// # Errors
    /// If the shape does not fit, there are more rows than announced, a value overflows half precision, or the disk is
    /// full.
    pub fn push(&mut self, features: Tensor<3>) -> Result<(), FeatureError> {
        let [rows, found_tokens, found_width] = features.dims();
        let (tokens, width) = (self.tokens, self.width);
        if [found_tokens, found_width] != [tokens, width] {
            return Err(FeatureError::Shape {
                rows,
                found_tokens,
                found_width,
                tokens,
                width,
            });
        }
        if self.written + rows > self.count {
            return Err(self.miscounted(self.written + rows));
        }
        let data = features.into_data().convert::<f32>();
        let values: Vec<f32> = data
            .try_into_vec()
            .map_err(|error| FeatureError::Values(format!("{error:?}")))?;
        let mut halves = vec![f16::ZERO; values.len()];
        halves.convert_from_f32_slice(&values);
        if let Some(at) = halves.iter().position(|value| !value.is_finite()) {
            return Err(FeatureError::NotFinite {
                row: self.written + at / (tokens * width),
            });
        }
        let bytes: Vec<u8> = halves.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file
            .write_all(&bytes)
            .map_err(|source| self.failed(source))?;
        self.written += rows;
        Ok(())
    }

    /// Puts the whole file in its place and opens it.
    ///
    /// # Errors
    /// If rows are missing or the file cannot be completed.
    pub fn finish(mut self) -> Result<FeatureStore, FeatureError> {
        if self.written != self.count {
            return Err(self.miscounted(self.written));
        }
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| std::fs::rename(&self.partial, &self.path))
            .map_err(|source| self.failed(source))?;
        FeatureStore::open(&self.path, &self.key)
    }

    fn failed(&self, source: std::io::Error) -> FeatureError {
        FeatureError::Write {
            path: self.partial.clone(),
            source,
        }
    }

    fn miscounted(&self, found: usize) -> FeatureError {
        FeatureError::Count {
            path: self.path.clone(),
            expected: self.count,
            found,
        }
    }
}

impl Drop for FeatureWriter {
    fn drop(&mut self) {
        // After `finish` the temporary name is gone and this does nothing; otherwise nobody could use what is there.
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Length and header of the safetensors file, filled up with spaces so that the values are aligned.
fn header(key: &str, shape: [usize; 3]) -> Vec<u8> {
    let end = shape.iter().product::<usize>() * HALF_BYTES;
    let entry = serde_json::json!({ "dtype": "F16", "shape": shape, "data_offsets": [0, end] });
    let mut text = serde_json::json!({ "__metadata__": { KEY: key }, TENSOR: entry })
        .to_string()
        .into_bytes();
    text.resize(text.len().next_multiple_of(LENGTH_BYTES), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes
}
