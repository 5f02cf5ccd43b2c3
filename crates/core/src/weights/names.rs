//! Between our parameter paths and the names of a checkpoint.

/// How the names of buffers end that old checkpoints keep beside the weights: the numbers of positions and segments, the
/// frequencies of rotary embeddings, masks, counters. Every model makes them itself, so that no load misses or wants them.
const BUFFERS: [&str; 5] = [
    "position_ids",
    "token_type_ids",
    "rotary_emb.inv_freq",
    "masked_bias",
    "num_batches_tracked",
];

/// Whether the tensor `name` of a checkpoint is a buffer, which is left unread in every family.
pub fn is_buffer(name: &str) -> bool {
    BUFFERS.iter().any(|end| {
        name.strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

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
