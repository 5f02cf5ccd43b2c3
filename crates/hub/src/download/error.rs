//! Why a model was not fetched.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::cache::CacheError;

/// What is wrong, where, what became of what was fetched, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// There is no cache to fetch into.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The hub must not be asked, and the cache does not have it.
    #[error("HF_HUB_OFFLINE is set, so nothing is fetched; unset it to fetch the model")]
    Offline(#[source] CacheError),
    /// What would be fetched is no name.
    #[error(
        "{path} is a folder or file of this machine: leave out --download (in Python, download=True)",
        path = path.display()
    )]
    IsHere {
        /// What was given.
        path: PathBuf,
    },
    /// Not the name of a model.
    #[error("`{name}` is not the name of a model on the hub: OWNER/NAME, such as Salesforce/blip2-opt-2.7b")]
    NoName {
        /// What was given.
        name: String,
    },
    /// The model asks for consent.
    #[error(
        "access to {name} is restricted: accept its licence at {page} with your account, then set HF_TOKEN to a token of that \
         account (or run `hf auth login`)"
    )]
    Gated {
        /// The model.
        name: String,
        /// Its page on the hub.
        page: String,
    },
    /// The token opens nothing here.
    #[error(
        "the hub refuses the token for {name}: either there is no such model, or the token (HF_TOKEN, or the file that \
         `hf auth login` writes) is invalid or lacks access; check the name and, at {page}, whether a licence has to be accepted"
    )]
    Token {
        /// The model.
        name: String,
        /// Its page on the hub.
        page: String,
    },
    /// Hidden or absent: the hub does not tell which.
    #[error(
        "the hub knows no public model {name}: check the name; if it is private, or its licence has to be accepted at {page}, do \
         so and set HF_TOKEN to a token of your account (or run `hf auth login`)"
    )]
    Unknown {
        /// The model.
        name: String,
        /// Its page on the hub.
        page: String,
    },
    /// No such model, or no such revision of it.
    #[error("the hub has no model {name} with a revision `{revision}`: look for it at {page}")]
    NotFound {
        /// The model.
        name: String,
        /// The branch, tag or commit.
        revision: String,
        /// The model's page on the hub, if there is one.
        page: String,
    },
    /// The model is there, the revision is not.
    #[error("{name} has no revision `{revision}` on the hub: give a branch, a tag or the hash of a commit")]
    NoRevision {
        /// The model.
        name: String,
        /// What was asked for.
        revision: String,
    },
    /// A file is listed and is not there.
    #[error("the hub lists the file `{file}` of {name} at revision `{revision}`, and does not have it")]
    NoFile {
        /// The model.
        name: String,
        /// The branch, tag or commit.
        revision: String,
        /// The file.
        file: String,
    },
    /// The repository holds something else.
    #[error("{name} is no model that can be used: it has no {what}; its files: {files}")]
    NoModel {
        /// The repository.
        name: String,
        /// What is missing.
        what: &'static str,
        /// What there is.
        files: String,
    },
    /// The index of the shards is unusable.
    #[error("{path}, the index of the weights, cannot be used: {reason}", path = path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No answer.
    #[error(
        "{host} cannot be reached; check the network and HF_ENDPOINT, or set HTTPS_PROXY where there is a proxy; what was fetched \
         stays, and the same command goes on from there"
    )]
    Unreachable {
        /// Who was asked.
        host: String,
        /// Why it did not answer.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Another refusal.
    #[error(
        "{url} answers {status} {reason}; what was fetched stays, and the same command goes on from there"
    )]
    Status {
        /// What was asked for.
        url: String,
        /// The code.
        status: u16,
        /// What it means.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("{url} does not answer as a hub does: {reason}; is HF_ENDPOINT right?")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A transfer that ended early, again and again.
    #[error(
        "the transfer of {file} broke off at byte {position} of {size}; what was fetched stays, and the same command goes on from \
         there"
    )]
    Broken {
        /// The file.
        file: String,
        /// How far it came.
        position: u64,
        /// How far it should have come.
        size: u64,
        /// What ended it.
        #[source]
        source: io::Error,
    },
    /// More or less than announced.
    #[error(
        "{file} has {actual} bytes where the hub announced {expected}: what was fetched of it was removed; try again later, or \
         another revision"
    )]
    WrongSize {
        /// The file.
        file: String,
        /// What was announced.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Other content than announced.
    #[error(
        "{file} has the SHA-256 {actual} where the hub announced {expected}: it was removed; the same command fetches it anew"
    )]
    WrongHash {
        /// The file.
        file: String,
        /// What was announced.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The disk is full, or will be.
    #[error(
        "{folder} has no room: {needed} bytes are still to come{free}; make room, or set HF_HOME to a folder on another disk; what \
         was fetched stays, and the same command goes on from there",
        folder = folder.display(),
        free = free.map_or(String::new(), |free| format!(", {free} are free"))
    )]
    NoSpace {
        /// Where there is no room.
        folder: PathBuf,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free, where that is known.
        free: Option<u64>,
    },
    /// Another process is at work on the same file, and nothing happens.
    #[error(
        "another process holds {lock} to fetch {file}, and has fetched nothing for {seconds} s; end it and try again",
        lock = lock.display()
    )]
    Locked {
        /// The file.
        file: String,
        /// Its lock.
        lock: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The cache cannot be read or written.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// `write`, `lock`, ...
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
