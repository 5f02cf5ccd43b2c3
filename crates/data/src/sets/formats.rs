//! The formats that there are, by name. A program adds its own and hands the whole to whoever opens data sets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Cache, DataSpec, Dataset, SetError, captioned, coco, filtered, flickr30k, folder, gqa, imagefolder,
    karpathy, lavis, parquet, records, sbu, tsv, visual_genome, vizwiz, vqa,
};

use super::webdataset::{CaptionSource, Rules, WebDataset};
/// What opening a data set may use.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Where indices of shards are kept; without it, shards are not read.
    pub cache: Option<Cache>,
    /// Whether a picture without any text is a sample too, as for writing captions.
    pub textless: bool,
}

type Open = dyn Fn(&DataSpec, &OpenOptions) -> Result<Box<dyn Dataset>, SetError> + Send + Sync;

#[derive(Clone)]
struct Format {
    summary: String,
    open: Arc<Open>,
}

/// Formats by name.
///
/// ```
/// use blip2_data::sets::{DataSpec, Dataset, Formats, OpenOptions, Sample, SampleError};
///
/// struct Nothing;
///
/// impl Dataset for Nothing {
///     fn name(&self) -> &str { "nothing" }
///     fn len(&self) -> u64 { 0 }
///     fn read(&self, _: u64) -> Result<Sample, SampleError> { unreachable!("no index is below 0") }
///     fn fingerprint(&self) -> String { String::new() }
/// }
///
/// let formats = Formats::standard().with("nothing", "no samples", |_, _| Ok(Box::new(Nothing)));
/// let set = formats.open(&DataSpec::new("nothing", "anywhere"), &OpenOptions::default())?;
/// assert!(set.is_empty());
/// # Ok::<(), blip2_data::sets::SetError>(())
/// ```
#[derive(Clone, Default)]
pub struct Formats(BTreeMap<String, Format>);

impl Formats {
    /// All that this crate reads.
    pub fn standard() -> Self {
        Self::default()
            .with("coco", "COCO's captions_*.json of 2014 and 2017", coco::open)
            .with(
                "csv",
                "a table with names of pictures and texts",
                records::open_csv,
            )
            .with(
                "flickr30k",
                "results_20130124.token, Karpathy's file or LAVIS's lists",
                flickr30k::open,
            )
            .with("folder", "pictures with a .txt file beside each", folder::open)
            .with("gqa", "GQA's questions by id, or LAVIS's list", gqa::open)
            .with(
                "imagefolder",
                "pictures with metadata.jsonl or metadata.csv",
                imagefolder::open,
            )
            .with(
                "jsonl",
                "JSON lines with names of pictures and texts",
                records::open_lines,
            )
            .with(
                "karpathy",
                "splits of dataset_coco.json or dataset_flickr30k.json",
                karpathy::open,
            )
            .with("lavis", "LAVIS's lists of captions or questions", lavis::open)
            .with(
                "nocaps",
                "NoCaps or LAVIS's list; split: a domain",
                coco::open_nocaps,
            )
            .with(
                "okvqa",
                "OK-VQA's questions, its annotations, or LAVIS's list",
                vqa::open,
            )
            .with(
                "parquet",
                "files of Hugging Face's datasets and of img2dataset",
                parquet::open,
            )
            .with(
                "sbu",
                "SBU's lists beside what img2dataset fetched, or LAVIS's list",
                sbu::open,
            )
            .with(
                "tsv",
                "CC3M's and CC12M's lines beside what img2dataset fetched",
                tsv::open,
            )
            .with(
                "vg-qa",
                "Visual Genome's question_answers.json, or LAVIS's list",
                visual_genome::open_questions,
            )
            .with(
                "visual-genome",
                "region_descriptions.json, or LAVIS's list",
                visual_genome::open_regions,
            )
            .with("vizwiz", "VizWiz-VQA's lists of questions", vizwiz::open)
            .with(
                "vqav2",
                "VQAv2's questions, its annotations, or LAVIS's list",
                vqa::open,
            )
            .with("webdataset", "tar archives, such as {00000..00331}.tar", shards)
    }

    /// One more, or another of that name.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        summary: &str,
        open: impl Fn(&DataSpec, &OpenOptions) -> Result<Box<dyn Dataset>, SetError> + Send + Sync + 'static,
    ) -> Self {
        let format = Format {
            summary: summary.to_owned(),
            open: Arc::new(open),
        };
        self.0.insert(name.to_owned(), format);
        self
    }

    /// Names with a line each that says what it is.
    pub fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        let formats = self.0.iter();
        formats.map(|(name, format)| (name.as_str(), format.summary.as_str()))
    }

    /// Opens the data set that `spec` names.
    ///
    /// # Errors
    /// [`SetError`]: no such format, files that cannot be read or are something else.
    pub fn open(&self, spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
        let format = self.0.get(&spec.format).ok_or_else(|| SetError::UnknownFormat {
            format: spec.format.clone(),
            known: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        let set = match &spec.captions {
            None => (format.open)(spec, options)?,
            Some(captions) => {
                let textless = OpenOptions {
                    textless: true,
                    ..options.clone()
                };
                captioned::open((format.open)(spec, &textless)?, captions, options.cache.as_ref())?
            }
        };
        match spec.filter.is_empty() {
            true => Ok(set),
            false => Ok(filtered(set, spec.filter.filters()?)),
        }
    }
}

/// webdataset's shards; `text = "json"` takes captions of `.json` members alone.
fn shards(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let captions = match spec.text.as_deref() {
        None => CaptionSource::Members,
        Some("json") => CaptionSource::Json,
        Some(other) => return Err(spec.error(format!("`text` is `json` or absent, not `{other}`"))),
    };
    let rules = Rules {
        captions,
        needs_text: !options.textless,
    };
    Ok(Box::new(WebDataset::of(spec, options, &spec.path, rules)?))
}

/// Opens the data set that `spec` names, in one of the formats that this crate reads; see [`Formats`] for others.
///
/// # Errors
/// As [`Formats::open`].
pub fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Formats::standard().open(spec, options)
}
