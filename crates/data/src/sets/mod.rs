//! Data sets on disk: samples by index, whatever format they lie in.
//!
//! A [`Dataset`] knows how many samples it has without holding them, and reads any of them alone: order, mixtures, loaders
//! and resumption stand on that and on nothing else.

mod annotated;
mod cache;
mod captioned;
mod coco;
mod csv;
mod error;
mod filter;
mod flickr30k;
mod folder;
mod formats;
mod gqa;
mod imagefolder;
mod images;
mod img2dataset;
mod json;
mod karpathy;
mod lavis;
mod parquet;
mod paths;
mod picture;
mod reason;
mod records;
mod report;
mod rows;
mod sample;
mod sbu;
mod similarity;
mod spec;
mod summary;
mod texts_by_key;
mod tsv;
mod visual_genome;
mod vizwiz;
mod vqa;
pub mod webdataset;

pub use cache::Cache;
pub use error::SetError;
pub use filter::{Filter, FilterSpec, WordList, filtered};
pub use formats::{Formats, OpenOptions, open};
pub use parquet::{Download, Downloads};
pub use picture::Picture;
pub use report::{Report, Severity};
pub use sample::{Annotation, Answer, Question, Sample, SampleError};
pub use spec::DataSpec;
pub use summary::{Example, Spread, Summary};

/// Samples by index. Implementations are read by many threads at once.
pub trait Dataset: Send + Sync {
    /// What logs and counts call it.
    fn name(&self) -> &str;

    /// Samples in all, those included that will turn out to be damaged.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sizes of the runs of neighbouring samples that are cheap to read together (a shard, a row group), in the order of
    /// the index; their sum is [`Dataset::len`]. A set whose samples lie apart anyway is one run.
    fn runs(&self) -> Vec<u64> {
        vec![self.len()]
    }

    /// The sample at `index`, below [`Dataset::len`]. The same index gives the same sample for as long as
    /// [`Dataset::fingerprint`] stays what it is.
    ///
    /// # Errors
    /// [`SampleError`] where this one sample cannot be used; others can still be.
    fn read(&self, index: u64) -> Result<Sample, SampleError>;

    /// What is said and asked in the sample at `index`, for which its picture need not be read: whether there is one, is seen later.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    fn annotation(&self, index: u64) -> Result<Annotation, SampleError> {
        self.read(index).map(Annotation::from)
    }

    /// The key of the sample at `index`, for which its picture need not be read.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    fn key(&self, index: u64) -> Result<String, SampleError> {
        self.read(index).map(|sample| sample.key)
    }

    /// Whether samples that cannot be used for this reason were asked to be kept out: they count as no damage.
    fn keeps_out(&self, _reason: &str) -> bool {
        false
    }

    /// Changes when what an index stands for changes: a run resumes only on what it was begun with.
    fn fingerprint(&self) -> String;

    /// What was left out, or looked odd, when the set was opened. Samples that turn out to be damaged when they are read
    /// are not in it.
    fn reports(&self) -> Vec<Report> {
        Vec::new()
    }
}
