//! A weight file that is not there yet: tensors of other stores under new names, thirds joined, values replaced. What is
//! written from it is read one tensor at a time.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use super::views::THIRDS;
use super::{TensorInfo, TensorStore, WeightError};

/// Where the values of a tensor, or of a third of one, come from. They are brought to the number format of the whole.
pub enum Part<'a> {
    /// A tensor of another store, of as many values.
    Stored(&'a dyn TensorStore, String),
    /// Values at hand.
    Values(TensorData),
}

/// A store put together tensor by tensor.
pub struct Assembled<'a> {
    label: String,
    tensors: BTreeMap<String, TensorInfo>,
    parts: BTreeMap<String, Vec<Part<'a>>>,
    /// Fused tensors of which thirds have come: their form, and each third.
    fused: BTreeMap<String, (TensorInfo, [Option<Part<'a>>; 3])>,
}

impl<'a> Assembled<'a> {
    /// An empty store that messages call `label`.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            tensors: BTreeMap::new(),
            parts: BTreeMap::new(),
            fused: BTreeMap::new(),
        }
    }

    /// Adds the tensor `name`, or replaces it. `name[query]`, `name[key]` and `name[value]` are thirds of the rows of one tensor
    /// `name`, as [`Views::split`](super::Views::split) shows them.
    pub fn put(&mut self, name: &str, info: TensorInfo, part: Part<'a>) {
        let third = THIRDS.iter().enumerate().find_map(|(index, third)| {
            let whole = name.strip_suffix(&format!("[{third}]"))?;
            Some((whole, index))
        });
        match third {
            Some((whole, index)) => {
                let (_, thirds) = self
                    .fused
                    .entry(whole.to_owned())
                    .or_insert_with(|| (info, [None, None, None]));
                thirds[index] = Some(part);
            }
            None => {
                self.tensors.insert(name.to_owned(), info);
                self.parts.insert(name.to_owned(), vec![part]);
            }
        }
    }

    /// Joins the thirds. One that did not come is zero: a query's or a value's always comes with the other, and a key's bias
    /// shifts all scores of a row alike, so that some families have none.
    pub fn joined(mut self) -> Self {
        for (name, (mut info, thirds)) in std::mem::take(&mut self.fused) {
            let zeros = || Part::Values(TensorData::zeros::<f32, _>(info.shape.clone()));
            let parts = thirds
                .into_iter()
                .map(|third| third.unwrap_or_else(zeros))
                .collect();
            info.shape[0] *= THIRDS.len();
            self.tensors.insert(name.clone(), info);
            self.parts.insert(name, parts);
        }
        self
    }
}

impl TensorStore for Assembled<'_> {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let (Some(info), Some(parts)) = (self.tensors.get(name), self.parts.get(name)) else {
            return Err(WeightError::Absent {
                file: self.label(),
                name: name.to_owned(),
            });
        };
        let format = |reason: String| WeightError::Format {
            path: self.label().into(),
            format: "weight",
            reason: format!("tensor `{name}`: {reason}"),
        };
        let mut bytes = Vec::with_capacity(info.shape.iter().product::<usize>() * info.dtype.size());
        for part in parts {
            let data = match part {
                Part::Stored(store, name) => store.read(name)?,
                Part::Values(data) => data.clone(),
            };
            let data = match data.dtype() == info.dtype {
                true => data,
                false => data.convert_dtype(info.dtype),
            };
            bytes.extend_from_slice(data.as_bytes());
        }
        TensorData::try_from_bytes_vec(bytes, info.shape.clone(), info.dtype)
            .map_err(|error| format(error.to_string()))
    }
}
