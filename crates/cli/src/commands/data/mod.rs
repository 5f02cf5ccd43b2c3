//! `blip2 data`

mod check;
mod index;
mod sheet;

use anyhow::{Context, Result, ensure};
use blip2::home;
use blip2_data::sets::{Cache, DataSpec, Dataset, OpenOptions};
use clap::{Args, Subcommand};

use crate::output;

const EXAMPLES: &str = "\
Examples:
  blip2 data formats                                  which there are
  blip2 data check folder:photos --sheet photos.html  pictures with .txt files
  blip2 data check 'karpathy:dataset_coco.json#images=coco,split=train+restval'
  blip2 data check recipe.toml --json                 all of its [[data]] entries
  blip2 data index 'webdataset:shards/{00000..00331}.tar'

SPEC is `format:path`, behind it `#key=value,...`: images (folders of pictures), annotations, split, image, text and key (columns),
strip, outside, captions, name, prompt, weight. A path may be a file, a folder, a glob, or hold braces. Or SPEC is a TOML file with
[[data]] entries of the same keys.";

/// The most bytes of unpacked or fetched shards that are kept.
const CACHE_BYTES: u64 = 20 << 30;

#[derive(Args)]
#[command(after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Data {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read all samples and tell what is there, what is wrong and what comes twice
    Check(check::Check),
    /// Find out once where each sample lies, for later runs
    Index(index::Index),
    /// List the formats that are read
    Formats(Listing),
}

/// `blip2 data formats`
#[derive(Args)]
struct Listing {
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Data {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Check(command) => command.run(),
            Command::Index(command) => command.run(),
            Command::Formats(command) => command.run(),
        }
    }
}

impl Listing {
    fn run(&self) -> Result<()> {
        blip2_mini::formats(&home()?)
            .list()
            .try_for_each(|(name, summary)| {
                if self.json {
                    output::json(&serde_json::json!({"format": name, "summary": summary}))
                } else {
                    output::line(format_args!("{name:15} {summary}"))
                }
            })
    }
}

/// The data sets that `text` names, opened one by one. A picture without any text is a sample where `textless`.
fn sets(text: &str, textless: bool) -> Result<impl Iterator<Item = Result<(DataSpec, Box<dyn Dataset>)>>> {
    let options = OpenOptions {
        cache: Some(Cache::new(home()?.join("data"), CACHE_BYTES)),
        textless,
    };
    let specs = DataSpec::all(text)?;
    let formats = blip2_mini::formats(&home()?);
    Ok(specs.into_iter().map(move |spec| {
        let set = formats.open(&spec, &options);
        let set = set.with_context(|| format!("cannot open the data set {}", spec.name()))?;
        Ok((spec, set))
    }))
}

/// The only data set that `text` names; its pictures may be without text, for there to be captions written of them.
pub(super) fn only_set(text: &str) -> Result<(DataSpec, Box<dyn Dataset>)> {
    let mut sets = sets(text, true)?;
    let set = sets.next().context("no data set is named")??;
    ensure!(
        sets.next().is_none(),
        "{text} names several data sets: this takes one at a time"
    );
    Ok(set)
}
