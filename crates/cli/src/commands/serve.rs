//! `blip2 serve`

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use blip2_server::{Keys, Limits, Server, ServerOptions, WordList};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::model::ModelArguments;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  blip2 serve --model runs/demo                              then open http://127.0.0.1:8080
  blip2 serve --model runs/demo --host 0.0.0.0 --api-key-file keys.txt
  curl http://127.0.0.1:8080/v1/models

Chat completions, embeddings and models are those of OpenAI's API, with http://127.0.0.1:8080/v1 as base URL; the rest is told by
/openapi.json. It stops at Ctrl-C, when what runs is finished; at a second one at once.";

/// The longest time for a request, in seconds.
const WEEK: u64 = 7 * 24 * 60 * 60;
/// What shells call the end by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A number of something, without which nothing could be served.
fn up_to<T: TryFrom<u64>>(most: u64) -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(1..=most)
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    #[command(flatten)]
    model: ModelArguments,
    /// Where to listen; by default this machine alone can reach it
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// A name under which it may be asked beside localhost, where this machine alone can reach it and there are no keys; several times
    /// for several
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// A file of keys, one a line, of which a client must send one
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Fetch pictures from public http(s) addresses
    #[arg(long)]
    allow_remote_images: bool,
    /// Words that prompts and texts must not say, a line for each `category: phrase`, in place of the built-in ones
    #[arg(long, value_name = "FILE")]
    safety_words: Option<PathBuf>,
    /// Let prompts and texts say anything
    #[arg(long, conflicts_with = "safety_words")]
    no_safety: bool,
    /// What clients call the model [default: the last part of its name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Most new tokens of a text
    #[arg(long, value_name = "N", default_value_t = Limits::default().tokens, value_parser = up_to::<usize>(1_000_000))]
    max_tokens: usize,
    /// Texts and beams that are written together
    #[arg(long, value_name = "N", default_value_t = Limits::default().rows, value_parser = up_to::<usize>(4096))]
    max_rows: usize,
    /// Requests at a time, those that wait included; more are told to come back
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests, value_parser = up_to::<usize>(1_000_000))]
    max_requests: usize,
    /// Requests of one client at a time
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests_of_client, value_parser = up_to::<usize>(1_000_000))]
    max_requests_per_client: usize,
    /// Megabytes of a request
    #[arg(long, value_name = "MB", default_value_t = Limits::default().body >> 20, value_parser = up_to::<usize>(65_536))]
    max_body: usize,
    /// Pixels of a picture
    #[arg(long, value_name = "N", default_value_t = Limits::default().pixels, value_parser = up_to::<u64>(10_000_000_000))]
    max_pixels: u64,
    /// Seconds for a request
    #[arg(long, value_name = "S", default_value_t = Limits::default().time.as_secs(), value_parser = up_to::<u64>(WEEK))]
    timeout: u64,
}

impl Serve {
    pub(crate) fn run(self) -> Result<()> {
        let options = self.options()?;
        if !options.host.is_loopback() && options.keys.is_none() {
            tracing::warn!(
                "everyone who reaches {} can ask: --api-key-file asks for keys",
                options.host
            );
        }
        let model = Arc::new(self.model.load()?);
        let runtime = Runtime::new().context("cannot start threads")?;
        let served: Result<()> = runtime.block_on(async {
            let server = Server::bind(model, options).await?;
            let stops = stops()?;
            output::line(format!("listening on http://{}", server.address()))?;
            server.run(stops).await?;
            Ok(())
        });
        // What nobody waits for any longer holds up no end.
        runtime.shutdown_background();
        served
    }

    fn options(&self) -> Result<ServerOptions> {
        let mut options = ServerOptions::named(match &self.name {
            Some(name) => name.clone(),
            None => self.model.short_name(),
        });
        options.host = self.host;
        options.port = self.port;
        options.hosts.clone_from(&self.allow_host);
        options.keys = self.api_key_file.as_deref().map(Keys::from_file).transpose()?;
        options.remote_images = self.allow_remote_images;
        if self.no_safety {
            options.filter = None;
        } else if let Some(file) = &self.safety_words {
            options.filter = Some(Arc::new(WordList::from_file(file)?));
        }
        options.limits = Limits {
            tokens: self.max_tokens,
            rows: self.max_rows,
            requests: self.max_requests,
            requests_of_client: self.max_requests_per_client,
            body: self.max_body.saturating_mul(1 << 20),
            pixels: self.max_pixels,
            time: Duration::from_secs(self.timeout),
            ..options.limits
        };
        Ok(options)
    }
}

/// Comes back when the program is asked to end. Who asks a second time does not want to wait: then it ends at once.
fn stops() -> Result<impl Future<Output = ()>> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        either(&mut interrupted, &mut terminated).await;
        output::warn("stopping: what runs is finished; ask again (Ctrl-C) to stop at once");
        tokio::spawn(exit_at_once(interrupted, terminated));
    })
}

async fn exit_at_once(mut interrupted: Signal, mut terminated: Signal) {
    either(&mut interrupted, &mut terminated).await;
    std::process::exit(INTERRUPTED);
}

async fn either(interrupted: &mut Signal, terminated: &mut Signal) {
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
}
