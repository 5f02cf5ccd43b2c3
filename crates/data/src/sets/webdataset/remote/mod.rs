//! Shards in object stores: `http(s)://`, `s3://`, `gs://`. Whole shards come into the cache, in ranges, when they are needed.
//!
//! Keys, regions and endpoints are read from the variables that the stores' own tools read (`AWS_...`, `GOOGLE_...`).

mod checksum;
mod connector;

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetResult, ObjectStore, ObjectStoreScheme, RetryConfig};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use url::{Position, Url};

use super::place::Stamp;
use checksum::{Check, Checksum};
use connector::Connector;

/// Bytes that are asked for at a time: what a broken connection costs at most.
const PIECE: u64 = 8 << 20;
/// How often, and for how long, a request is repeated that was answered with a failure of the server, or not at all.
const RETRIES: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

/// An object in a store.
#[derive(Clone, Debug)]
pub(super) struct Object {
    url: Url,
    path: Path,
    store: Arc<dyn ObjectStore>,
}

impl Object {
    /// The object at `address`.
    ///
    /// # Errors
    /// If it is no address of a store that is known, or the store's settings cannot be used.
    pub(super) fn at(address: &str) -> Result<Self> {
        let url = Url::parse(address).map_err(Error::other)?;
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(Error::other)?;
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        };
        let client = ClientOptions::new().with_allow_http(url.scheme() == "http");
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Http => Arc::new(
                HttpBuilder::new()
                    .with_url(&url[..Position::BeforePath])
                    .with_client_options(client)
                    .with_http_connector(Connector)
                    .with_retry(retry)
                    .build()
                    .map_err(Error::other)?,
            ),
            ObjectStoreScheme::AmazonS3 => Arc::new(
                AmazonS3Builder::from_env()
                    .with_url(address)
                    .with_http_connector(Connector)
                    .with_retry(retry)
                    .build()
                    .map_err(Error::other)?,
            ),
            ObjectStoreScheme::GoogleCloudStorage => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_url(address)
                    .with_http_connector(Connector)
                    .with_retry(retry)
                    .build()
                    .map_err(Error::other)?,
            ),
            _ => return Err(Error::other("only http, https, s3 and gs are read")),
        };
        Ok(Self { url, path, store })
    }

    /// Its address.
    pub(super) fn address(&self) -> &str {
        self.url.as_str()
    }

    /// What the store says of it.
    ///
    /// # Errors
    /// If it is not there, or the store does not answer.
    pub(super) fn stamp(&self) -> Result<Stamp> {
        let meta = self.head(&runtime()?)?.meta;
        let mut changed = meta.last_modified.timestamp_nanos_opt().unwrap_or_default();
        // Times are of whole seconds, if there are any; a tag tells all versions apart.
        if let Some(tag) = meta.e_tag {
            let hash = Sha256::digest(format!("{changed} {tag}"));
            changed = i64::from_le_bytes(hash.first_chunk().copied().unwrap_or_default());
        }
        Ok(Stamp {
            size: meta.size,
            changed,
        })
    }

    /// Writes all of it to `target`, piece by piece, all of one version, and sees to it that the bytes are those that the store speaks
    /// of, where it has a checksum of them.
    ///
    /// # Errors
    /// If it cannot be read, becomes another one meanwhile, is damaged, or cannot be written.
    pub(super) fn fetch(&self, target: &mut File) -> Result<()> {
        let runtime = runtime()?;
        let head = self.head(&runtime)?;
        let mut check = head.extensions.get::<Checksum>().cloned().map(Check::new);
        let meta = head.meta;
        // A weak tag matches nothing.
        let strong = meta.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
        let mut start = 0;
        while start < meta.size {
            let end = meta.size.min(start + PIECE);
            let options = GetOptions {
                if_match: strong.clone(),
                ..GetOptions::new().with_range(Some(start..end))
            };
            let piece = runtime.block_on(async {
                let answer = self.store.get_opts(&self.path, options).await?;
                let (size, tag) = (answer.meta.size, answer.meta.e_tag.clone());
                Ok::<_, object_store::Error>((size, tag, answer.bytes().await?))
            });
            let (size, tag, piece) = piece.map_err(|error| match error {
                object_store::Error::Precondition { .. } => another_version(),
                error => Error::other(error),
            })?;
            // Servers need not know `If-Match`.
            if size != meta.size || tag != meta.e_tag {
                return Err(another_version());
            }
            if piece.len() as u64 != end - start {
                let problem = format!("{} of {} bytes came", piece.len(), end - start);
                return Err(Error::new(ErrorKind::UnexpectedEof, problem));
            }
            if let Some(check) = &mut check {
                check.add(&piece);
            }
            target.write_all(&piece)?;
            start = end;
        }
        check.map_or(Ok(()), Check::end)
    }

    /// What the store says of it, without its bytes.
    fn head(&self, runtime: &Runtime) -> Result<GetResult> {
        let options = GetOptions::new().with_head(true);
        runtime
            .block_on(self.store.get_opts(&self.path, options))
            .map_err(|error| match error {
                object_store::Error::NotFound { .. } => Error::new(ErrorKind::NotFound, error),
                error => Error::other(error),
            })
    }
}

fn another_version() -> Error {
    Error::other("it became another version while it was read: start again once nobody writes it")
}

/// Requests are made one after the other, by the thread that asks.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}
