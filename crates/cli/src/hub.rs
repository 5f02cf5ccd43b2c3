//! Which folder a name on the hub stands for, and fetching it, with progress.

use std::path::{Path, PathBuf};

use anyhow::Result;
use blip2::locate;
use blip2_hub::{DownloadError, Event, Hub, obtain};
use clap::Args;
use indicatif::ProgressBar;

use crate::{output, progress};

#[derive(Args)]
pub(crate) struct HubArguments {
    /// Branch, tag or whole commit hash of a name on the hub [default: main]
    #[arg(long, value_name = "R")]
    revision: Option<String>,
    /// Fetch first what the cache lacks of a name on the hub, as `blip2 pull` does
    #[arg(long)]
    download: bool,
}

impl HubArguments {
    /// The folder or file that `model`, a path or a name, stands for.
    pub(crate) fn folder(&self, model: &Path) -> Result<PathBuf> {
        let revision = self.revision.as_deref();
        match self.download {
            true => shown(|watch| obtain(model, revision, watch)),
            false => Ok(locate(model, revision)?),
        }
    }
}

/// Fetches what the cache lacks of the model `name`, and gives its folder.
pub(crate) fn fetch(name: &str, revision: Option<&str>) -> Result<PathBuf> {
    let hub = Hub::of_environment()?;
    shown(|watch| hub.fetch(name, revision, watch))
}

/// What `fetch` gives, with a bar while it lasts.
fn shown(fetch: impl FnOnce(&mut dyn FnMut(Event)) -> Result<PathBuf, DownloadError>) -> Result<PathBuf> {
    let bar = progress::bytes();
    let folder = fetch(&mut |event| show(&bar, event));
    bar.finish_and_clear();
    Ok(folder?)
}

fn show(bar: &ProgressBar, event: Event) {
    match event {
        Event::Total(total) => bar.set_length(total),
        Event::Position(position) => bar.set_position(position),
        Event::File(file) => {
            tracing::info!("fetching {file}");
            bar.set_message(file.to_owned());
        }
        Event::Verifying(file) => bar.set_message(format!("checking {file}")),
        Event::Waiting(lock) => bar.suspend(|| {
            output::warn(format_args!(
                "waiting for another process that holds {}",
                lock.display()
            ));
        }),
        Event::Retrying(error, pause) => bar.suspend(|| {
            output::warn(format_args!("trying again in {} s: {error}", pause.as_secs_f32()));
        }),
        _ => {}
    }
}
