//! Safetensors files of reference values.

use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::Array;
use crate::folders::{find, read};
use crate::log::Line;

/// A safetensors file of inputs and expected outputs. Each of its tensors counts as proven only once a test took it, so
/// weights, which a model reads by itself, are opened by path instead.
pub struct TensorFile {
    /// Relative to the golden folder.
    file: String,
    bytes: Vec<u8>,
    names: Vec<String>,
}

impl TensorFile {
    /// Opens `file`, named relative to the golden folder.
    ///
    /// # Panics
    /// Where it is absent or no safetensors file.
    pub fn open(file: &str) -> Self {
        let path = find(file).unwrap_or_else(|| panic!("{file} is absent"));
        let bytes = read(&path);
        let mut names: Vec<String> = parse(&path, &bytes)
            .names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        names.sort();
        for name in &names {
            Line::held(file, name).append();
        }
        Self {
            file: file.to_owned(),
            bytes,
            names,
        }
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What stands before `suffix` in the names that end with it: for `.vision` the images that have features.
    pub fn stems(&self, suffix: &str) -> Vec<&str> {
        self.names
            .iter()
            .filter_map(|name| name.strip_suffix(suffix))
            .collect()
    }

    /// Whether the file has a tensor called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// The shape of a tensor, `[]` for a scalar.
    ///
    /// # Panics
    /// Where there is no such tensor.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.view(name, |_, shape, _| shape.to_vec())
    }

    /// A tensor with its shape. Any number format is read.
    ///
    /// # Panics
    /// Where there is no such tensor.
    pub fn array(&self, name: &str) -> Array {
        Line::taken(&self.file, name).append();
        self.view(name, |dtype, shape, data| Array {
            shape: shape.to_vec(),
            values: numbers(dtype, data).unwrap_or_else(|| panic!("{}: `{name}` holds {dtype:?}", self.file)),
        })
    }

    /// The values of a tensor as f32.
    ///
    /// # Panics
    /// Where there is no such tensor.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.array(name)
            .values
            .into_iter()
            .map(|value| value as f32)
            .collect()
    }

    /// The values of a tensor of whole numbers.
    ///
    /// # Panics
    /// Where there is no such tensor, or a value is no whole number.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        let whole = |value: f64| {
            assert!(value.fract() == 0.0, "{}: `{name}` holds {value}", self.file);
            value as i64
        };
        self.array(name).values.into_iter().map(whole).collect()
    }

    /// The rows of a matrix of token ids.
    ///
    /// # Panics
    /// Where there is no such matrix, or it holds what cannot be an id.
    pub fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let width = *self.shape(name).last().unwrap_or(&1);
        let id = |value: &i64| {
            u32::try_from(*value).unwrap_or_else(|_| panic!("{}: `{name}` holds {value}", self.file))
        };
        let ids = self.integers(name);
        ids.chunks(width.max(1))
            .map(|row| row.iter().map(id).collect())
            .collect()
    }

    /// The rows of the ids called `ids` without their padding, which has 0 in the mask called `mask`. A mask that is longer
    /// than its row, because the queries stand in front, counts from the end.
    ///
    /// # Panics
    /// As [`TensorFile::ids`], or where the two do not fit.
    pub fn texts(&self, ids: &str, mask: &str) -> Vec<Vec<u32>> {
        let (rows, masks) = (self.ids(ids), self.ids(mask));
        assert_eq!(rows.len(), masks.len(), "{}: `{ids}` and `{mask}`", self.file);
        let real = |(row, mask): (&Vec<u32>, &Vec<u32>)| {
            let front = mask
                .len()
                .checked_sub(row.len())
                .expect("a mask as long as its row");
            let kept = row.iter().zip(&mask[front..]).filter(|(_, real)| **real == 1);
            kept.map(|(id, _)| *id).collect()
        };
        rows.iter().zip(&masks).map(real).collect()
    }

    /// The only value of a tensor.
    ///
    /// # Panics
    /// Where there is no such tensor, or it has not one value.
    pub fn number(&self, name: &str) -> f64 {
        match self.array(name).values[..] {
            [value] => value,
            ref values => panic!("{}: `{name}` has {} values, not one", self.file, values.len()),
        }
    }

    fn view<Found>(&self, name: &str, get: impl FnOnce(Dtype, &[usize], &[u8]) -> Found) -> Found {
        let tensors = parse(Path::new(&self.file), &self.bytes);
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|error| panic!("{}: `{name}`: {error}", self.file));
        get(view.dtype(), view.shape(), view.data())
    }
}

fn parse<'bytes>(path: &Path, bytes: &'bytes [u8]) -> SafeTensors<'bytes> {
    SafeTensors::deserialize(bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The numbers in `data`, `None` for a format that reference files do not use.
fn numbers(dtype: Dtype, data: &[u8]) -> Option<Vec<f64>> {
    Some(match dtype {
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::F32 => each(data, |bytes| f32::from_le_bytes(bytes).into()),
        Dtype::F16 => each(data, |bytes| f16::from_le_bytes(bytes).into()),
        Dtype::BF16 => each(data, |bytes| bf16::from_le_bytes(bytes).into()),
        Dtype::I64 => each(data, |bytes| i64::from_le_bytes(bytes) as f64),
        Dtype::I32 => each(data, |bytes| i32::from_le_bytes(bytes).into()),
        Dtype::U8 | Dtype::BOOL => each(data, |[byte]: [u8; 1]| byte.into()),
        _ => return None,
    })
}

fn each<const SIZE: usize>(data: &[u8], number: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
    data.as_chunks::<SIZE>()
        .0
        .iter()
        .map(|bytes| number(*bytes))
        .collect()
}
