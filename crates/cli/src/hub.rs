//! Which folder a name on the hub stands for.

use std::path::{Path, PathBuf};

use anyhow::Result;
use blip2::locate;
use clap::Args;

#[derive(Args)]
pub(crate) struct HubArguments {
    /// Branch, tag or whole commit hash, where a name in the Hugging Face cache is given [default: main]
    #[arg(long, value_name = "R")]
    revision: Option<String>,
}

impl HubArguments {
    /// The folder or file that `model`, a path or a name, stands for.
    pub(crate) fn folder(&self, model: &Path) -> Result<PathBuf> {
        Ok(locate(model, self.revision.as_deref())?)
    }
}
