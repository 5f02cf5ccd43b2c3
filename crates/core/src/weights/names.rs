//! Between our parameter paths and the names of a checkpoint.

/// How one checkpoint family names the parameters of one module.
///
/// A parameter's path is its field names joined by dots, as `layers.0.attention.query.weight`.
#[derive(Clone, Copy)]
pub struct NameMap {
    /// From our path to the name in the file. `None`: this family never stores the parameter.
    pub rename: fn(&str) -> Option<String>,
    /// Names in the file that are left unread on purpose.
    pub ignored: fn(&str) -> bool,
}

impl NameMap {
    /// Names in the file are our own paths; nothing is ignored.
    pub const OWN: Self = Self {
        rename: |path| Some(path.to_owned()),
        ignored: |_| false,
    };
}
