//! PAX records: `LENGTH KEY=VALUE` and a line break each, with which a header is corrected.

/// What of a member's PAX records a reader needs.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    /// The text of the size: whether it is a number is told where it is used.
    pub(super) size: Option<Vec<u8>>,
    /// The data are pieces of a file with holes, not the file.
    pub(super) has_holes: bool,
}

impl Records {
    /// `None` where a record does not have the length that it announces.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        while !bytes.is_empty() && bytes[0] != 0 {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => found.path = Some(value.to_vec()),
                b"size" => found.size = Some(value.to_vec()),
                _ => found.has_holes |= key.starts_with(b"GNU.sparse."),
            }
            bytes = &bytes[length..];
        }
        Some(found)
    }

    /// The size that replaces the header's; `Some(None)` where it is no number.
    pub(super) fn size(&self) -> Option<Option<u64>> {
        let text = self.size.as_ref()?;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        Some(number)
    }
}
