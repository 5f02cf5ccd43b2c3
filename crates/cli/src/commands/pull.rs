//! `blip2 pull`

use anyhow::Result;
use clap::Args;

use crate::hub::fetch;
use crate::model::named;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  blip2 pull Salesforce/blip2-opt-2.7b
  blip2 pull Salesforce/blip2-opt-2.7b --revision refs/pr/3
  blip2 caption --model Salesforce/blip2-opt-2.7b picture.jpg              from the cache, without a network
  blip2 caption --model Salesforce/blip2-itm-vit-g --download picture.jpg  both in one

Writes the folder of the model to stdout. It lies in the cache that the Python libraries share: $HF_HUB_CACHE, else hub in
$HF_HOME, else in ~/.cache/huggingface. Only what a model consists of is fetched: configuration, processor and tokenizer files,
and weights, as safetensors where the hub has them. Each file is resumed where an earlier attempt ended, and checked: its size,
and for weights their SHA-256. A model whose licence has to be accepted asks for a token: set HF_TOKEN, or run `hf auth login`.
Also read: HF_ENDPOINT (another hub or mirror), HF_HUB_OFFLINE (the cache alone answers), HF_HUB_DOWNLOAD_TIMEOUT (seconds
without a byte after which a transfer is begun again, 10), HTTPS_PROXY, NO_PROXY.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pull {
    /// Name of the model on the hub: OWNER/NAME
    #[arg(value_name = "MODEL")]
    model: String,
    /// Branch, tag or commit hash [default: main]
    #[arg(long, value_name = "R")]
    revision: Option<String>,
}

impl Pull {
    pub(crate) fn run(self) -> Result<()> {
        output::line(named(&fetch(&self.model, self.revision.as_deref())?))
    }
}
