//! Files as `torch.save` writes them: a zip of raw values, one entry a tensor, and a pickle that says what they are.

use std::io::Write;
use std::path::Path;

use burn::tensor::DType;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::write::{Failure, whole_or_not};
use super::{TensorInfo, TensorStore, WeightError};

/// The folder within the zip; any name will do.
const ROOT: &str = "archive";
/// Version of the layout of the zip.
const VERSION: &[u8] = b"3\n";

/// Writes all tensors of `store` to `path` for `torch.load`, below the key `key`, as LAVIS keeps them below `model`. The file
/// exists whole or not at all, and holds nothing but tensors, so that `weights_only=True` reads it.
///
/// # Errors
/// [`WeightError::Io`] where the disk refuses, [`WeightError::Format`] for a number format that PyTorch does not have, and what
/// reading `store` gives.
pub fn write_pytorch(path: &Path, key: &str, store: &dyn TensorStore) -> Result<(), WeightError> {
    let pickle = pickle(path, key, store)?;
    whole_or_not(path, |file| {
        let mut zip = ZipWriter::new(file);
        let mut entry = |name: &str, content: &[u8]| -> Result<(), Failure> {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .large_file(content.len() > u32::MAX as usize);
            zip.start_file(format!("{ROOT}/{name}"), options).map_err(disk)?;
            Ok(zip.write_all(content)?)
        };
        entry("data.pkl", &pickle)?;
        entry("byteorder", b"little")?;
        for (index, name) in store.tensors().keys().enumerate() {
            entry(&format!("data/{index}"), store.read(name)?.as_bytes())?;
        }
        entry("version", VERSION)?;
        zip.finish().map_err(disk)?;
        Ok(())
    })
}

fn disk(error: zip::result::ZipError) -> Failure {
    Failure::Disk(error.into())
}

/// `{key: {name: tensor, ...}}` in protocol 2, the tensors by reference to their entries.
fn pickle(path: &Path, key: &str, store: &dyn TensorStore) -> Result<Vec<u8>, WeightError> {
    let mut pickle = Pickle(b"\x80\x02".to_vec());
    pickle.op(b"}").text(key).op(b"}(");
    for (index, (name, info)) in store.tensors().iter().enumerate() {
        let storage = storage(info.dtype).ok_or_else(|| {
            WeightError::format(path, "PyTorch", format!("`{name}` holds {:?}", info.dtype))
        })?;
        pickle.text(name);
        pickle.tensor(index, info, storage);
    }
    // Both dictionaries get what stands above their marks.
    pickle.op(b"us.");
    Ok(pickle.0)
}

/// Opcodes and their operands (Python's `pickletools` documents each).
struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// BINUNICODE.
    fn text(&mut self, text: &str) -> &mut Self {
        let length = (text.len() as u32).to_le_bytes();
        self.op(b"X").op(&length).op(text.as_bytes())
    }

    /// LONG1 of nine bytes: any size is below its sign.
    fn size(&mut self, size: usize) -> &mut Self {
        self.op(b"\x8a\x09").op(&(size as u64).to_le_bytes()).op(b"\0")
    }

    /// A tuple of `sizes`.
    fn sizes(&mut self, sizes: &[usize]) -> &mut Self {
        self.op(b"(");
        for size in sizes {
            self.size(*size);
        }
        self.op(b"t")
    }

    /// GLOBAL.
    fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.op(b"c")
            .op(module.as_bytes())
            .op(b"\n")
            .op(name.as_bytes())
            .op(b"\n")
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`, the storage by a persistent id.
    fn tensor(&mut self, index: usize, info: &TensorInfo, storage: &str) {
        let mut strides = vec![1; info.shape.len()];
        for dimension in (1..info.shape.len()).rev() {
            strides[dimension - 1] = strides[dimension] * info.shape[dimension];
        }
        self.global("torch._utils", "_rebuild_tensor_v2").op(b"((");
        self.text("storage").global("torch", storage);
        self.text(&index.to_string()).text("cpu");
        self.size(info.shape.iter().product()).op(b"tQ");
        self.size(0).sizes(&info.shape).sizes(&strides);
        self.op(b"\x89").global("collections", "OrderedDict").op(b")R");
        self.op(b"tR");
    }
}

fn storage(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F64 => Some("DoubleStorage"),
        DType::F32 | DType::Flex32 => Some("FloatStorage"),
        DType::F16 => Some("HalfStorage"),
        DType::BF16 => Some("BFloat16Storage"),
        DType::I64 => Some("LongStorage"),
        DType::I32 => Some("IntStorage"),
        DType::I16 => Some("ShortStorage"),
        DType::I8 => Some("CharStorage"),
        DType::U8 => Some("ByteStorage"),
        _ => None,
    }
}
