//! Captions for many pictures: files are decoded on other threads while the model writes.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use blip2_data::ahead;
use blip2_data::pixels::{PixelsError, RgbImage, resize};
use blip2_generation::GenerationConfig;

use crate::{Blip2, Blip2Error, Written};

/// Batches that are decoded ahead of the model.
const BATCHES_AHEAD: usize = 2;

/// Which part of a model writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The language model, behind the bridge of stage 2.
    LanguageModel,
    /// The Q-Former alone, as stage 1 trained it: it reads no prompt.
    Qformer,
}

/// A picture to caption, and what the caption continues.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaptionRequest {
    /// The picture.
    pub file: PathBuf,
    /// The prompt, often none.
    pub prompt: String,
}

/// How pictures are captioned.
#[derive(Clone, Copy)]
pub struct CaptionTask<'a> {
    /// Who writes.
    pub writer: Writer,
    /// And how.
    pub settings: &'a GenerationConfig,
    /// Pictures that are looked at together, at least 1.
    pub batch: usize,
    /// Reads a picture ([`crate::open_picture`]).
    pub open: &'a (dyn Fn(&Path) -> Result<RgbImage, PixelsError> + Sync),
}

/// Pictures of a batch that are to be used together.
pub struct OpenedBatch {
    /// Those that could be read, at the size that the encoder sees.
    pub pictures: Vec<RgbImage>,
    /// What came of each.
    pub opened: Vec<Result<(), Blip2Error>>,
}

impl Blip2 {
    /// Opens the pictures of `sources`, files or whatever stands for them, on other threads and hands them to `take`, `batch` at a
    /// time in their order, while the next are opened.
    ///
    /// # Errors
    /// What `take` returns; it ends the reading.
    pub fn open_in_batches<Source: Sync, Failure>(
        &self,
        sources: &[Source],
        batch: usize,
        open: &(dyn Fn(&Source) -> Result<RgbImage, PixelsError> + Sync),
        mut take: impl FnMut(OpenedBatch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (width, height) = (self.encoder.processor.width, self.encoder.processor.height);
        // Brought to size where it is read: what waits is small, however large the picture is.
        let read = |source: &Source| resize(&open(source)?, width, height);
        let threads = available_parallelism().map_or(1, usize::from);
        let batch = batch.max(1);
        ahead(sources, threads, BATCHES_AHEAD * batch, read, |pictures| {
            let mut left = sources.len();
            while left > 0 {
                let mut next = OpenedBatch {
                    pictures: Vec::new(),
                    opened: Vec::new(),
                };
                for picture in pictures.take(batch.min(left)) {
                    let opened = picture.map(|picture| next.pictures.push(picture));
                    next.opened.push(opened.map_err(Blip2Error::from));
                }
                left = left.saturating_sub(batch);
                take(next)?;
            }
            Ok(())
        })
    }

    /// Captions the pictures of `requests`, in their order, and hands `take` what came of each batch: for every picture
    /// `num_return_sequences` texts, or why it has none. A picture that fails costs no other one its captions, and captions do
    /// not depend on the batch.
    ///
    /// # Errors
    /// As for [`Blip2::caption`], where no picture could be captioned; and what `take` returns.
    pub fn caption_files<Failure: From<Blip2Error>>(
        &self,
        requests: &[CaptionRequest],
        task: &CaptionTask,
        mut take: impl FnMut(Vec<Result<Vec<Written>, Blip2Error>>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.check_task(task)?;
        let files: Vec<&Path> = requests.iter().map(|request| request.file.as_path()).collect();
        let mut requests = requests.iter();
        self.open_in_batches(
            &files,
            task.batch,
            &|file| (task.open)(file),
            |OpenedBatch { pictures, opened }| {
                let prompts: Vec<String> = opened
                    .iter()
                    .zip(requests.by_ref())
                    .filter(|(opened, _)| opened.is_ok())
                    .map(|(_, request)| request.prompt.clone())
                    .collect();
                let mut captions = self.caption_each(&pictures, &prompts, task).into_iter();
                let results = opened.into_iter().map(|opened| {
                    opened.and_then(|()| {
                        captions
                            .next()
                            .expect("one result for each picture that was read")
                    })
                });
                take(results.collect())
            },
        )
    }

    /// What would fail every picture.
    fn check_task(&self, task: &CaptionTask) -> Result<(), Blip2Error> {
        task.settings.check()?;
        match task.writer {
            Writer::LanguageModel => self.language_model().map(|_| ()),
            Writer::Qformer => self.writing_representation().map(|_| ()),
        }
    }

    /// The texts of each picture; where a batch fails, each picture is tried by itself.
    fn caption_each(
        &self,
        pictures: &[RgbImage],
        prompts: &[String],
        task: &CaptionTask,
    ) -> Vec<Result<Vec<Written>, Blip2Error>> {
        if pictures.is_empty() {
            return Vec::new();
        }
        let written = match task.writer {
            Writer::LanguageModel => self.caption(pictures, prompts, task.settings),
            Writer::Qformer => self.caption_by_qformer(pictures, task.settings),
        };
        match written {
            Ok(written) => {
                let texts = written.chunks(task.settings.num_return_sequences);
                texts.map(|texts| Ok(texts.to_vec())).collect()
            }
            Err(error) if pictures.len() == 1 => vec![Err(error)],
            Err(_) => pictures
                .chunks(1)
                .zip(prompts.chunks(1))
                .flat_map(|(picture, prompt)| self.caption_each(picture, prompt, task))
                .collect(),
        }
    }
}
