//! What a checkpoint calls the parameters of the encoder.

/// Between our paths and a family's names: the beginning of a path, then pieces of what follows it.
pub(super) struct Naming {
    pub(super) beginnings: &'static [(&'static str, &'static str)],
    /// No piece may occur in another's replacement.
    pub(super) pieces: &'static [(&'static str, &'static str)],
}

impl Naming {
    /// The family's name of the parameter at `path`; a path that no beginning fits stays as it is.
    pub(super) fn of(&self, path: &str) -> String {
        let renamed = self.beginnings.iter().find_map(|(ours, theirs)| {
            let rest = path.strip_prefix(ours)?;
            let pieces = self.pieces.iter();
            let rest = pieces.fold(rest.to_owned(), |rest, (ours, theirs)| rest.replace(ours, theirs));
            Some(format!("{theirs}{rest}"))
        });
        renamed.unwrap_or_else(|| path.to_owned())
    }
}
