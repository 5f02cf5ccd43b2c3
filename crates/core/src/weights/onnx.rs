//! The weights inside an ONNX file, read without an ONNX runtime.
//!
//! PyTorch's exporter keeps the names of most parameters, but stores the matrix of a linear layer transposed, under an
//! anonymous name such as `onnx::MatMul_1966`. The graph says which layer it belongs to: the product is added to a bias
//! that kept its name. Such a matrix is offered under that layer's name, in PyTorch's own layout.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, DType, TensorData};
use memmap2::Mmap;

use super::map::map_file;
use super::{TensorInfo, TensorStore, WeightError};
use crate::protobuf::{Fields, Value, integer, text};

const FORMAT: &str = "ONNX";
/// How the exporter's invented names begin.
const ANONYMOUS: &str = "onnx::";
/// Nodes and tensors of a graph, beyond any real one: bounds the memory that a hostile file can ask for.
const MOST_ENTRIES: usize = 1 << 18;
/// Dimensions of a tensor, for the same reason.
const MOST_DIMENSIONS: usize = 8;

/// The initialisers of an ONNX graph, mapped into memory.
///
/// `MatMul` followed by `Add`, and `Gemm`, give an anonymous matrix the name of its layer: where the bias is
/// `fc1.bias`, the matrix becomes `fc1.weight` `[outputs, inputs]`. Everything else keeps its name and layout.
pub struct OnnxStore {
    path: PathBuf,
    map: Mmap,
    tensors: BTreeMap<String, TensorInfo>,
    places: BTreeMap<String, Place>,
}

/// Where the values of a tensor stand in the file, and whether rows and columns are to be exchanged on reading.
#[derive(Clone)]
struct Place {
    values: Range<usize>,
    transposed: bool,
}

impl OnnxStore {
    /// Maps the file and reads the names, shapes and places of its tensors.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the file cannot be read, [`WeightError::Format`] where it is not a whole ONNX file with
    /// its weights inside.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let map = map_file(path)?;
        let initialisers = read_graph(&map).map_err(|reason| WeightError::format(path, FORMAT, reason))?;
        let mut store = Self {
            path: path.to_owned(),
            map,
            tensors: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for (name, (info, place)) in initialisers {
            store.tensors.insert(name.clone(), info);
            store.places.insert(name, place);
        }
        Ok(store)
    }
}

impl TensorStore for OnnxStore {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let (Some(info), Some(place)) = (self.tensors.get(name), self.places.get(name)) else {
            return Err(WeightError::Absent {
                file: self.label(),
                name: name.to_owned(),
            });
        };
        let values = &self.map[place.values.clone()];
        let bytes = if place.transposed {
            transpose(values, info.shape[0], info.dtype.size())
        } else {
            values.to_vec()
        };
        TensorData::try_from_bytes(Bytes::from_bytes_vec(bytes), info.shape.clone(), info.dtype)
            .map_err(|error| WeightError::format(&self.path, FORMAT, error))
    }
}

/// `[columns, rows]` elements of `size` bytes as `[rows, columns]`.
fn transpose(values: &[u8], rows: usize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len());
    for row in 0..rows {
        for line in values.chunks_exact(rows * size) {
            bytes.extend_from_slice(&line[row * size..(row + 1) * size]);
        }
    }
    bytes
}

type Initialisers = BTreeMap<String, (TensorInfo, Place)>;

/// All initialisers of the graph, by the name of the layer they belong to.
fn read_graph(file: &[u8]) -> Result<Initialisers, String> {
    let mut graph = None;
    for field in Fields::new(file, 0..file.len()) {
        // ModelProto.graph
        if let (7, Value::Bytes(range)) = field?
            && graph.replace(range).is_some()
        {
            return Err("two graphs in one file".to_owned());
        }
    }
    let graph = graph.ok_or("no graph in it: it is cut short, or no ONNX model")?;

    let mut initialisers = BTreeMap::new();
    for (entry, field) in Fields::new(file, graph.clone()).enumerate() {
        if entry == MOST_ENTRIES {
            return Err(format!("more than {MOST_ENTRIES} nodes and tensors"));
        }
        // GraphProto.initializer
        if let (5, Value::Bytes(range)) = field? {
            let (name, info, place) = read_tensor(file, range)?;
            if initialisers.insert(name.to_owned(), (info, place)).is_some() {
                return Err(format!("two tensors are named `{name}`"));
            }
        }
    }

    let names = layer_names(file, graph, &initialisers)?;
    let mut renamed = Vec::new();
    for (name, (weight, transposed)) in names {
        let (mut info, mut place) = initialisers[weight].clone();
        if transposed {
            info.shape.reverse();
            place.transposed = true;
        }
        renamed.push((weight.to_owned(), name, info, place));
    }
    for (weight, ..) in &renamed {
        initialisers.remove(weight);
    }
    for (_, name, info, place) in renamed {
        if initialisers.insert(name.clone(), (info, place)).is_some() {
            return Err(format!("two tensors claim the name `{name}`"));
        }
    }
    Ok(initialisers)
}

/// For each layer `stem.weight`: the anonymous initialiser that holds it, and whether it is transposed.
///
/// Nodes stand in the order of evaluation, so a product is known before something is added to it.
fn layer_names<'a>(
    file: &'a [u8],
    graph: Range<usize>,
    initialisers: &Initialisers,
) -> Result<BTreeMap<String, (&'a str, bool)>, String> {
    let anonymous_matrix = |name: &str| {
        name.starts_with(ANONYMOUS)
            && initialisers
                .get(name)
                .is_some_and(|(info, _)| info.shape.len() == 2)
    };
    let stem = |bias: &str| {
        bias.strip_suffix(".bias")
            .filter(|_| initialisers.contains_key(bias))
            .map(str::to_owned)
    };
    let mut products = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut claim = |stem: String, weight: &'a str, transposed: bool| {
        let name = format!("{stem}.weight");
        match names.insert(name.clone(), (weight, transposed)) {
            Some(former) if former != (weight, transposed) => {
                Err(format!("two tensors claim the name `{name}`"))
            }
            _ => Ok(()),
        }
    };
    for field in Fields::new(file, graph) {
        // GraphProto.node
        let (1, Value::Bytes(range)) = field? else {
            continue;
        };
        let node = Node::read(file, range)?;
        match (node.operation, &node.inputs[..]) {
            ("MatMul", &[_, weight]) if anonymous_matrix(weight) => {
                products.insert(node.output, weight);
            }
            ("Add", &[left, right]) => {
                for (bias, product) in [(left, right), (right, left)] {
                    if let (Some(stem), Some(weight)) = (stem(bias), products.get(product)) {
                        claim(stem, weight, true)?;
                    }
                }
            }
            ("Gemm", &[_, weight, bias]) if anonymous_matrix(weight) => {
                if let Some(stem) = stem(bias) {
                    claim(stem, weight, !node.second_transposed)?;
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// One step of the graph.
struct Node<'a> {
    operation: &'a str,
    /// Names of the first three inputs: no operation of interest has more.
    inputs: Vec<&'a str>,
    output: &'a str,
    /// `Gemm`'s attribute `transB`: its matrix is `[outputs, inputs]` already.
    second_transposed: bool,
}

impl<'a> Node<'a> {
    fn read(file: &'a [u8], range: Range<usize>) -> Result<Self, String> {
        let mut node = Self {
            operation: "",
            inputs: Vec::new(),
            output: "",
            second_transposed: false,
        };
        for field in Fields::new(file, range) {
            match field? {
                (1, Value::Bytes(name)) if node.inputs.len() < 3 => node.inputs.push(text(file, name)?),
                (2, Value::Bytes(name)) => node.output = text(file, name)?,
                (4, Value::Bytes(name)) => node.operation = text(file, name)?,
                (5, Value::Bytes(attribute)) => node.second_transposed |= transposes_second(file, attribute)?,
                _ => {}
            }
        }
        Ok(node)
    }
}

/// Whether an AttributeProto says `transB = 1`.
fn transposes_second(file: &[u8], range: Range<usize>) -> Result<bool, String> {
    let (mut named, mut set) = (false, false);
    for field in Fields::new(file, range) {
        match field? {
            (1, Value::Bytes(name)) => named = &file[name] == b"transB",
            (3, Value::Integer(value)) => set = value != 0,
            _ => {}
        }
    }
    Ok(named && set)
}

/// Name, shape and place of the TensorProto in `range`; its values are not touched.
fn read_tensor(file: &[u8], range: Range<usize>) -> Result<(&str, TensorInfo, Place), String> {
    let (mut name, mut kind, mut external) = ("", 0, false);
    let mut shape: Vec<usize> = Vec::new();
    let mut values = None;
    for field in Fields::new(file, range) {
        match field? {
            (1, Value::Integer(extent)) => shape.push(extent as usize),
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() && shape.len() <= MOST_DIMENSIONS {
                    shape.push(integer(file, &mut packed)? as usize);
                }
            }
            (2, Value::Integer(number)) => kind = number,
            (8, Value::Bytes(range)) => name = text(file, range)?,
            // raw_data; float_data, packed, has the same bytes
            (4 | 9, Value::Bytes(range)) => values = Some(range),
            (14, Value::Integer(location)) => external = location != 0,
            _ => {}
        }
        if shape.len() > MOST_DIMENSIONS {
            return Err(format!(
                "tensor `{name}` has more than {MOST_DIMENSIONS} dimensions"
            ));
        }
    }
    if external {
        return Err(format!(
            "tensor `{name}` keeps its values in another file: export the model with its weights inside"
        ));
    }
    let dtype = number_format(kind)
        .ok_or_else(|| format!("tensor `{name}` has number format {kind} of ONNX, which is not supported"))?;
    let values = values.unwrap_or(0..0);
    let needed = shape
        .iter()
        .try_fold(dtype.size(), |bytes, extent| bytes.checked_mul(*extent));
    if needed != Some(values.len()) {
        return Err(format!(
            "tensor `{name}` of shape {shape:?} and {dtype:?} has {} bytes of values",
            values.len()
        ));
    }
    Ok((
        name,
        TensorInfo { dtype, shape },
        Place {
            values,
            transposed: false,
        },
    ))
}

/// TensorProto.DataType
fn number_format(kind: u64) -> Option<DType> {
    match kind {
        1 => Some(DType::F32),
        2 => Some(DType::U8),
        3 => Some(DType::I8),
        6 => Some(DType::I32),
        7 => Some(DType::I64),
        10 => Some(DType::F16),
        11 => Some(DType::F64),
        16 => Some(DType::BF16),
        _ => None,
    }
}
