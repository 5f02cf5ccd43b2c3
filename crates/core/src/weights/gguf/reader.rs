//! A cursor over untrusted little-endian bytes.

/// What is left of the file, and where it begins.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        if count > self.remaining() {
            return Err(format!(
                "it ends at byte {}, but {count} bytes are announced at {}: it is truncated or damaged",
                self.bytes.len(),
                self.position
            ));
        }
        let taken = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things that take at least `smallest` bytes each: one that the rest of the file cannot hold is an error.
    pub(super) fn count(&mut self, what: &str, smallest: usize) -> Result<usize, String> {
        let start = self.position;
        let count = self.u64()?;
        match usize::try_from(count) {
            Ok(count)
                if count
                    .checked_mul(smallest)
                    .is_some_and(|bytes| bytes <= self.remaining()) =>
            {
                Ok(count)
            }
            _ => Err(format!(
                "it announces {count} {what} at byte {start}, more than the {} bytes behind can hold",
                self.remaining()
            )),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        let start = self.position;
        let length = self.count("bytes of text", 1)?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|error| format!("the text at byte {start} is not UTF-8: {error}"))
    }
}
