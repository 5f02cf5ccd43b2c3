//! Shards in object stores: `http(s)://`, `s3://`, `gs://`. Whole shards come into the cache, in ranges, when they are needed.
//!
//! Keys, regions and endpoints are read from the variables that the stores' own tools read (`AWS_...`, `GOOGLE_...`).

mod connector;

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};
use url::{Position, Url};

use super::place::Stamp;
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
        let meta = self.meta(&runtime()?)?;
        let changed = meta.last_modified.timestamp_nanos_opt().unwrap_or_default();
        Ok(Stamp {
            size: meta.size,
            changed,
        })
    }

    /// Writes all of it to `target`, piece by piece, all of one version.
    ///
    /// # Errors
    /// If it cannot be read, becomes another one meanwhile, or cannot be written.
    pub(super) fn fetch(&self, target: &mut File) -> Result<()> {
        let runtime = runtime()?;
        let meta = self.meta(&runtime)?;
        let mut start = 0;
        while start < meta.size {
            let end = meta.size.min(start + PIECE);
            let options = GetOptions {
                if_match: meta.e_tag.clone(),
                ..GetOptions::new().with_range(Some(start..end))
            };
            let piece = async { self.store.get_opts(&self.path, options).await?.bytes().await };
            let piece = runtime.block_on(piece).map_err(Error::other)?;
            if piece.len() as u64 != end - start {
                let problem = format!("{} of {} bytes came", piece.len(), end - start);
                return Err(Error::new(ErrorKind::UnexpectedEof, problem));
            }
            target.write_all(&piece)?;
            start = end;
        }
        Ok(())
    }

    fn meta(&self, runtime: &Runtime) -> Result<ObjectMeta> {
        runtime
            .block_on(self.store.head(&self.path))
            .map_err(|error| match error {
                object_store::Error::NotFound { .. } => Error::new(ErrorKind::NotFound, error),
                error => Error::other(error),
            })
    }
}

/// Requests are made one after the other, by the thread that asks.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}
