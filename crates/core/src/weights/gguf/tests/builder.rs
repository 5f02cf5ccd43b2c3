//! A writer of the format, for tests here and in the crates above: it writes right and wrong files alike.

/// A file in the making.
#[derive(Default)]
pub(crate) struct GgufBuilder {
    tensor_count: u64,
    metadata_count: u64,
    metadata: Vec<u8>,
    infos: Vec<u8>,
    data: Vec<u8>,
}

/// Text as the format writes it: its length, then its bytes.
pub(crate) fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

impl GgufBuilder {
    /// A metadata entry: type code and value as the format writes them.
    pub(crate) fn metadata(mut self, key: &str, code: u32, value: &[u8]) -> Self {
        self.metadata
            .extend([&text(key)[..], &code.to_le_bytes(), value].concat());
        self.metadata_count += 1;
        self
    }

    /// A tensor at the next multiple of 32; `dimensions` innermost first.
    pub(crate) fn tensor(mut self, name: &str, dimensions: &[u64], code: u32, bytes: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        let offset = self.data.len() as u64;
        self.data.extend(bytes);
        self.info(name, dimensions, code, offset)
    }

    /// A tensor entry alone, wherever it points to.
    pub(crate) fn info(mut self, name: &str, dimensions: &[u64], code: u32, offset: u64) -> Self {
        self.infos.extend(text(name));
        self.infos.extend((dimensions.len() as u32).to_le_bytes());
        dimensions
            .iter()
            .for_each(|dimension| self.infos.extend(dimension.to_le_bytes()));
        self.infos
            .extend([&code.to_le_bytes()[..], &offset.to_le_bytes()].concat());
        self.tensor_count += 1;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(self.tensor_count.to_le_bytes());
        bytes.extend(self.metadata_count.to_le_bytes());
        bytes.extend([&self.metadata[..], &self.infos].concat());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}
