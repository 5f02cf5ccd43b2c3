//! Questions to the hub. Addresses, user agent and token are those of the `hf-hub` crate; redirects are followed here, because
//! what a file is called and how large it is stands on the way, and so that the token reaches no other host.

use std::fmt::Display;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use ureq::Body;
use ureq::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LOCATION, RANGE,
};
use ureq::http::uri::PathAndQuery;
use ureq::http::{Response, StatusCode, Uri};

use super::retries::Retries;
use super::{DownloadError, Event, Hub};
use crate::cache::is_inside;

const MAX_REDIRECTS: usize = 10;
/// The longest list of files that is read, in bytes.
const MAX_LISTING: u64 = 16 << 20;

/// One revision of a model on the hub.
pub(super) struct Remote<'a> {
    hub: &'a Hub,
    name: &'a str,
    revision: &'a str,
    api: Api,
}

/// What a revision consists of.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

/// What the hub says of a file before it gives it.
pub(super) struct Metadata {
    /// The name of its blob: for large files the SHA-256 of the content.
    pub(super) etag: String,
    pub(super) size: u64,
}

/// An answer, with what stood in the headers on the way to it.
pub(super) struct Answer {
    pub(super) url: Uri,
    pub(super) response: Response<Body>,
    /// The hub's own word on a file that lies elsewhere.
    linked: Linked,
}

#[derive(Default)]
struct Linked {
    etag: Option<String>,
    size: Option<u64>,
    /// Of the last answer by the hub itself.
    own_etag: Option<String>,
}

impl<'a> Remote<'a> {
    pub(super) fn new(hub: &'a Hub, name: &'a str, revision: &'a str) -> Result<Self, DownloadError> {
        let builder = ApiBuilder::from_cache(Cache::new(hub.cache.clone()))
            .with_endpoint(hub.endpoint.clone())
            .with_token(hub.token.clone())
            .with_user_agent("blip2", env!("CARGO_PKG_VERSION"));
        let api = builder.build().map_err(|error| DownloadError::Answer {
            url: hub.endpoint.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            hub,
            name,
            revision,
            api,
        })
    }

    fn repository(&self, revision: &str) -> ApiRepo {
        self.api.repo(Repo::with_revision(
            self.name.to_owned(),
            RepoType::Model,
            revision.to_owned(),
        ))
    }

    /// The commit that the revision stands for, and its files.
    pub(super) fn listing(&self, watch: &mut dyn FnMut(Event)) -> Result<Listing, DownloadError> {
        let mut retries = Retries::of_first_contact(self.hub);
        let info = loop {
            match self.ask_listing() {
                Ok(info) => break info,
                Err(error) => retries.after(error, watch)?,
            }
        };
        let files: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let single = is_inside(&info.sha) && !info.sha.contains('/');
        match files.iter().find(|file| !is_inside(file)) {
            None if single => Ok(Listing {
                commit: info.sha,
                files,
            }),
            None => Err(self.answer(&self.hub.endpoint, format!("`{}` is no commit", info.sha))),
            Some(file) => Err(self.answer(
                &self.hub.endpoint,
                format!("`{file}` is no name of a file in a repository"),
            )),
        }
    }

    fn ask_listing(&self) -> Result<RepoInfo, DownloadError> {
        let repository = self.repository(self.revision);
        let url = repository
            .info_request()
            .uri_ref()
            .map(Uri::to_string)
            .unwrap_or_default();
        let Answer {
            url, mut response, ..
        } = self.get(&url, None)?;
        self.check(&url, &response, None)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING);
        body.read_json().map_err(|error| match error {
            ureq::Error::Json(error) => self.answer(&url, error),
            error => self.unreachable(&url, error),
        })
    }

    /// Name and size of `file` at `commit`.
    pub(super) fn metadata(
        &self,
        commit: &str,
        file: &str,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Metadata, DownloadError> {
        let mut retries = Retries::new(self.hub);
        loop {
            match self.ask_metadata(commit, file) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => retries.after(error, watch)?,
            }
        }
    }

    fn ask_metadata(&self, commit: &str, file: &str) -> Result<Metadata, DownloadError> {
        let Answer {
            url,
            response,
            linked,
        } = self.get(&self.url(commit, file), Some("bytes=0-0"))?;
        // Of an empty file there is no first byte.
        if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            self.check(&url, &response, Some(file))?;
        }
        let etag = linked
            .etag
            .or(linked.own_etag)
            .or_else(|| text(response.headers(), ETAG.as_str()).map(normalised));
        let etag = etag.filter(|etag| is_inside(etag) && !etag.contains('/'));
        let size = linked.size.or_else(|| match response.status() {
            StatusCode::OK => number(response.headers(), CONTENT_LENGTH.as_str()),
            _ => content_range(response.headers()).and_then(|(_, total)| total),
        });
        match (etag, size) {
            (Some(etag), Some(size)) => Ok(Metadata { etag, size }),
            (None, _) => Err(self.answer(&url, format!("no usable ETag of `{file}`"))),
            (_, None) => Err(self.answer(&url, format!("no size of `{file}`"))),
        }
    }

    /// `file` at `commit`, from the byte `start` on.
    pub(super) fn open(&self, commit: &str, file: &str, start: u64) -> Result<Answer, DownloadError> {
        let range = format!("bytes={start}-");
        let answer = self.get(&self.url(commit, file), (start > 0).then_some(&*range))?;
        if answer.response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            self.check(&answer.url, &answer.response, Some(file))?;
        }
        Ok(answer)
    }

    fn url(&self, commit: &str, file: &str) -> String {
        self.repository(commit).url(file)
    }

    /// Asks for `url`, and follows where the answer points.
    fn get(&self, url: &str, range: Option<&str>) -> Result<Answer, DownloadError> {
        let mut url: Uri = url.parse().map_err(|error| self.answer(url, error))?;
        let (hub, mut linked) = (origin(&url), Linked::default());
        for _ in 0..=MAX_REDIRECTS {
            let own = origin(&url) == hub;
            let response = self.get_once(&url, range, own)?;
            let headers = response.headers();
            if own {
                linked.read(headers);
            }
            let next = text(headers, LOCATION.as_str()).filter(|_| response.status().is_redirection());
            match next {
                Some(next) => url = join(&url, next).map_err(|error| self.answer(&url, error))?,
                None => {
                    return Ok(Answer {
                        url,
                        response,
                        linked,
                    });
                }
            }
        }
        Err(self.answer(&url, "it leads from redirect to redirect"))
    }

    fn get_once(&self, url: &Uri, range: Option<&str>, own: bool) -> Result<Response<Body>, DownloadError> {
        let request = self.repository(self.revision).info_request().uri(url.clone());
        // Lengths and ranges are those of the file, not of a compressed form of it.
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        if let Some(headers) = request.headers_mut().filter(|_| !own) {
            headers.remove(AUTHORIZATION);
        }
        let silence = Some(self.hub.silence);
        let configured = request
            .config()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(silence)
            .timeout_connect(silence)
            .timeout_per_read(silence)
            .build();
        configured.call().map_err(|error| self.unreachable(url, error))
    }

    /// What a refusal means.
    fn check(&self, url: &Uri, response: &Response<Body>, file: Option<&str>) -> Result<(), DownloadError> {
        let (status, headers) = (response.status(), response.headers());
        if status.is_success() {
            return Ok(());
        }
        let (name, revision) = (self.name.to_owned(), self.revision.to_owned());
        let page = format!("{}/{}", self.hub.endpoint, self.name);
        let code = text(headers, "x-error-code").unwrap_or_default();
        Err(match (status, code, file) {
            (_, "GatedRepo", _) | (StatusCode::FORBIDDEN, _, _) => DownloadError::Gated { name, page },
            (_, "RevisionNotFound", _) => DownloadError::NoRevision { name, revision },
            (StatusCode::UNAUTHORIZED, _, _) if self.hub.token.is_some() => {
                DownloadError::Token { name, page }
            }
            (StatusCode::UNAUTHORIZED, _, _) => DownloadError::Unknown { name, page },
            (StatusCode::NOT_FOUND, "EntryNotFound", Some(file))
            | (StatusCode::NOT_FOUND, "", Some(file)) => {
                let file = file.to_owned();
                DownloadError::NoFile { name, revision, file }
            }
            (StatusCode::NOT_FOUND, _, _) => DownloadError::NotFound { name, revision, page },
            _ => DownloadError::Status {
                url: url.to_string(),
                status: status.as_u16(),
                reason: text(headers, "x-error-message")
                    .or(status.canonical_reason())
                    .unwrap_or_default()
                    .to_owned(),
            },
        })
    }

    /// The answer makes no sense.
    pub(super) fn answer(&self, url: impl Display, reason: impl Display) -> DownloadError {
        DownloadError::Answer {
            url: url.to_string(),
            reason: reason.to_string(),
        }
    }

    fn unreachable(&self, url: &Uri, source: ureq::Error) -> DownloadError {
        DownloadError::Unreachable {
            host: url.authority().map(ToString::to_string).unwrap_or_default(),
            source: Box::new(source),
        }
    }
}

impl Linked {
    fn read(&mut self, headers: &HeaderMap) {
        let linked = text(headers, "x-linked-etag").map(normalised);
        self.etag = self.etag.take().or(linked);
        self.size = self.size.or_else(|| number(headers, "x-linked-size"));
        self.own_etag = text(headers, ETAG.as_str())
            .map(normalised)
            .or(self.own_etag.take());
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// An ETag without quotes and mark of weakness.
fn normalised(etag: &str) -> String {
    etag.trim().trim_start_matches("W/").trim_matches('"').to_owned()
}

/// First byte and total of a `Content-Range`, as far as they are known: `bytes 0-0/17`, `bytes 3-16/*`, `bytes */17`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text(headers, CONTENT_RANGE.as_str())?
        .trim()
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
    Some((first, total.parse().ok()))
}

/// How long the body of an answer is, where it says so.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(headers, CONTENT_LENGTH.as_str())
}

fn origin(url: &Uri) -> Option<(String, String)> {
    Some((
        url.scheme_str()?.to_owned(),
        url.authority()?.as_str().to_lowercase(),
    ))
}

/// Where a `Location` points that stood in the answer of `url`.
fn join(url: &Uri, location: &str) -> Result<Uri, String> {
    let unusable = |error: &dyn Display| format!("it points to `{location}`: {error}");
    if location.contains("://") && !location.starts_with('/') {
        return location.parse().map_err(|error| unusable(&error));
    }
    let mut parts = url.clone().into_parts();
    let path = if let Some(elsewhere) = location.strip_prefix("//") {
        let (authority, path) = elsewhere.split_once('/').unwrap_or((elsewhere, ""));
        parts.authority = Some(authority.parse().map_err(|error| unusable(&error))?);
        format!("/{path}")
    } else if location.starts_with('/') {
        location.to_owned()
    } else {
        let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{location}")
    };
    parts.path_and_query = Some(path.parse::<PathAndQuery>().map_err(|error| unusable(&error))?);
    Uri::from_parts(parts).map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_an_address_a_host_a_path_or_a_neighbour() {
        let url: Uri = "https://hub:8/o/n/resolve/main/a.bin?x=1".parse().unwrap();
        for (location, expected) in [
            ("http://cdn/a?b=://", "http://cdn/a?b=://"),
            ("//cdn/a?b", "https://cdn/a?b"),
            ("/api/a?to=http://x", "https://hub:8/api/a?to=http://x"),
            ("b.bin?c", "https://hub:8/o/n/resolve/main/b.bin?c"),
        ] {
            assert_eq!(join(&url, location).unwrap().to_string(), expected, "{location}");
        }
        assert!(join(&url, "/a b").unwrap_err().contains("/a b"));
    }

    #[test]
    fn ranges_and_etags_are_read_in_every_form() {
        let range = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 0-0/17"), Some((Some(0), Some(17))));
        assert_eq!(range("bytes 3-16/*"), Some((Some(3), None)));
        assert_eq!(range("bytes */17"), Some((None, Some(17))));
        assert_eq!(range("lines 1-2/3"), None);
        for etag in ["\"ab\"", "W/\"ab\"", "ab"] {
            assert_eq!(normalised(etag), "ab");
        }
    }
}
