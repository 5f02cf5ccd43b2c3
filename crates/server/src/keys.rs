//! Who may ask.

use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ServerError;

/// The keys that let a client in, as hashes.
#[derive(Clone)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Those of a file, one a line; empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// [`ServerError`] where the file cannot be read, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, ServerError> {
        let text = std::fs::read_to_string(path).map_err(|source| ServerError::Read {
            path: path.to_owned(),
            source,
        })?;
        let lines = text.lines().map(str::trim);
        let keys = Self::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')));
        match keys.0.is_empty() {
            true => Err(ServerError::Empty {
                path: path.to_owned(),
                what: "key",
            }),
            false => Ok(keys),
        }
    }

    /// These keys.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        Self(keys.into_iter().map(hash).collect())
    }

    /// The number of the key that `given` is. All keys are compared, each in the same time whatever is given.
    pub(crate) fn find(&self, given: &str) -> Option<usize> {
        let given = hash(given);
        let mut found = None;
        for (number, key) in self.0.iter().enumerate() {
            if bool::from(key.ct_eq(&given)) {
                found = Some(number);
            }
        }
        found
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_line_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# mine\nfirst\n\n  second \n").unwrap();
        let keys = Keys::from_file(file.path()).unwrap();
        assert_eq!(keys.find("first"), Some(0));
        assert_eq!(keys.find("second"), Some(1));
        for wrong in ["", "firs", "first ", "# mine", "third"] {
            assert_eq!(keys.find(wrong), None, "{wrong}");
        }
        std::fs::write(file.path(), "# nothing\n").unwrap();
        assert!(matches!(
            Keys::from_file(file.path()),
            Err(ServerError::Empty { .. })
        ));
    }
}
