//! Several weight files that are one store.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use super::{TensorInfo, TensorStore, WeightError};

/// The tensors of all `files`, each of which stands in one of them.
pub(super) struct Shards<File> {
    label: String,
    files: Vec<File>,
    tensors: BTreeMap<String, TensorInfo>,
    home: BTreeMap<String, usize>,
}

impl<File: TensorStore> Shards<File> {
    /// One store of `files`, which messages call `label`; `format` is what each of them is.
    ///
    /// # Errors
    /// [`WeightError::Format`] where a tensor stands in two files.
    pub(super) fn join(label: String, format: &'static str, files: Vec<File>) -> Result<Self, WeightError> {
        let (mut tensors, mut home) = (BTreeMap::new(), BTreeMap::new());
        for (index, file) in files.iter().enumerate() {
            for (name, info) in file.tensors() {
                if home.insert(name.clone(), index).is_some() {
                    return Err(WeightError::format(
                        Path::new(&file.label()),
                        format,
                        format!("tensor `{name}` stands in two shards"),
                    ));
                }
                tensors.insert(name.clone(), info.clone());
            }
        }
        Ok(Self {
            label,
            files,
            tensors,
            home,
        })
    }
}

impl<File: TensorStore> TensorStore for Shards<File> {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        match self.home.get(name) {
            Some(index) => self.files[*index].read(name),
            None => Err(WeightError::Absent {
                file: self.label(),
                name: name.to_owned(),
            }),
        }
    }
}
