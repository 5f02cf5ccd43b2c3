//! What LAVIS calls the bridge of stage 2.

use blip2_core::weights::NameMap;
use blip2_qformer::LAVIS_REPRESENTATION;

/// The bridge in a LAVIS checkpoint in front of OPT (`blip2_opt.py`). The frozen models of the same file are left to their
/// own loaders.
pub const LAVIS_OPT_BRIDGE: NameMap = NameMap {
    rename: |path| lavis(path, "opt_proj."),
    ignored: elsewhere,
};

/// The bridge in a LAVIS checkpoint in front of FlanT5 (`blip2_t5.py`).
pub const LAVIS_T5_BRIDGE: NameMap = NameMap {
    rename: |path| lavis(path, "t5_proj."),
    ignored: elsewhere,
};

/// The bridge in a LAVIS checkpoint in front of Vicuna (`blip2_vicuna_instruct.py`).
pub const LAVIS_LLAMA_BRIDGE: NameMap = NameMap {
    rename: |path| lavis(path, "llm_proj."),
    ignored: elsewhere,
};

fn lavis(path: &str, projection: &str) -> Option<String> {
    match path.strip_prefix("projection.") {
        Some(part) => Some(format!("{projection}{part}")),
        None => (LAVIS_REPRESENTATION.rename)(path),
    }
}

fn elsewhere(name: &str) -> bool {
    ["visual_encoder.", "opt_model.", "t5_model.", "llm_model."]
        .iter()
        .any(|frozen| name.starts_with(frozen))
}
