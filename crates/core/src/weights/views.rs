//! A weight file as one part of a model needs it: one part of the names, fused tensors split, leading dimensions added.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use super::{TensorInfo, TensorStore, WeightError};

/// What a fused tensor is made of, in this order.
pub(super) const THIRDS: [&str; 3] = ["query", "key", "value"];

/// A store whose tensors are runs of another store's values under other names and shapes.
pub struct Views<'a> {
    file: &'a dyn TensorStore,
    tensors: BTreeMap<String, TensorInfo>,
    sources: BTreeMap<String, Source>,
}

/// Where a run of values begins.
struct Source {
    name: String,
    first: usize,
}

impl<'a> Views<'a> {
    /// The tensors of `file` below `prefix`, without it.
    pub fn below(file: &'a dyn TensorStore, prefix: &str) -> Self {
        let mut views = Self {
            file,
            tensors: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        for (name, info) in file.tensors() {
            if let Some(short) = name.strip_prefix(prefix) {
                let source = Source {
                    name: name.clone(),
                    first: 0,
                };
                views.sources.insert(short.to_owned(), source);
                views.tensors.insert(short.to_owned(), info.clone());
            }
        }
        views
    }

    /// Shows each tensor whose name ends in `fused` as three, `name[query]`, `name[key]` and `name[value]`, each a third
    /// of its rows. A number of rows that has no third stays whole, and loading lists it.
    pub fn split(mut self, fused: &str) -> Self {
        let names: Vec<String> = self
            .tensors
            .iter()
            .filter(|(name, info)| {
                let rows = info.shape.first();
                name.ends_with(fused) && rows.is_some_and(|rows| rows.is_multiple_of(3))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let (Some(mut info), Some(source)) = (self.tensors.remove(&name), self.sources.remove(&name))
            else {
                continue;
            };
            info.shape[0] /= 3;
            let values: usize = info.shape.iter().product();
            for (third, part) in THIRDS.into_iter().enumerate() {
                let short = format!("{name}[{part}]");
                let source = Source {
                    name: source.name.clone(),
                    first: third * values,
                };
                self.sources.insert(short.clone(), source);
                self.tensors.insert(short, info.clone());
            }
        }
        self
    }

    /// Shows the tensor `name`, where there is one, with leading dimensions of one, up to three in all.
    pub fn deepen(mut self, name: &str) -> Self {
        if let Some(info) = self.tensors.get_mut(name) {
            while info.shape.len() < 3 {
                info.shape.insert(0, 1);
            }
        }
        self
    }
}

impl TensorStore for Views<'_> {
    fn label(&self) -> String {
        self.file.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let (Some(info), Some(source)) = (self.tensors.get(name), self.sources.get(name)) else {
            return Err(WeightError::Absent {
                file: self.label(),
                name: name.to_owned(),
            });
        };
        let format = |reason: String| WeightError::Format {
            path: self.label().into(),
            format: "weight",
            reason: format!("tensor `{}`: {reason}", source.name),
        };
        let whole = self.file.read(&source.name)?;
        let values: usize = info.shape.iter().product();
        let data = if whole.num_elements() == values {
            TensorData::try_from_bytes(whole.into_bytes(), info.shape.clone(), info.dtype)
        } else {
            let size = info.dtype.size();
            let (start, end) = (source.first * size, (source.first + values) * size);
            let part = whole.into_bytes().shared().view(start, end);
            let part = part.map_err(|_| format(format!("it ends before byte {end}")))?;
            TensorData::try_from_bytes(part, info.shape.clone(), info.dtype)
        };
        data.map_err(|error| format(error.to_string()))
    }
}
