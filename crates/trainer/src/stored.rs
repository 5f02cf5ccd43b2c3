//! Storing the frozen encoder's features of a whole mixture once, for all steps to come.

use std::path::Path;
use std::sync::Arc;

use blip2::LoadedEncoder;
use blip2_data::ahead;
use blip2_data::features::{FeatureStore, FeatureWriter, content_key};
use blip2_data::mixture::Mixture;
use blip2_data::pixels::RgbImage;
use burn::tensor::{Device, Tensor};

use crate::error::io;
use crate::{Observer, TrainError, encode};

/// Pictures that go through the encoder at once.
const AT_ONCE: usize = 32;

/// Features of all samples of `mixture`, by [`Mixture::number`], in half precision: found under `folder`, or computed and stored
/// there. Each picture is seen whole. A sample that cannot be read gets zeros, and is never asked for: another takes its
/// place in training. `fingerprint` is that of the encoder.
///
/// # Errors
/// [`TrainError::Features`] or [`TrainError::Io`] where the disk refuses; [`TrainError::Model`] where pictures and encoder do
/// not fit each other.
pub fn store_features(
    mixture: &Mixture,
    encoder: &LoadedEncoder,
    fingerprint: &str,
    folder: &Path,
    threads: usize,
    observer: &dyn Observer,
) -> Result<FeatureStore, TrainError> {
    let processor = &encoder.processor;
    let key = content_key(&[
        fingerprint.as_bytes(),
        format!("{processor:?}").as_bytes(),
        mixture.fingerprint().as_bytes(),
    ]);
    let path = folder.join(format!("{}.safetensors", &key[..16]));
    if path.exists() {
        match FeatureStore::open(&path, &key) {
            Ok(store) => return Ok(store),
            Err(error) => observer.note(&format!("stored features are computed anew: {error}")),
        }
    }
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    let (height, width) = (processor.height as usize, processor.width as usize);
    let tokens = encoder.encoder.tokens(height, width)?;
    let samples: Vec<(usize, u64)> = (0..)
        .zip(mixture.parts())
        .flat_map(|(set, part)| (0..part.set.len()).map(move |index| (set, index)))
        .collect();
    let mut writer = FeatureWriter::create(&path, &key, samples.len(), tokens, encoder.encoder.width())?;
    observer.phase("features", samples.len() as u64);
    let read = |(set, index): &(usize, u64)| -> Option<Arc<RgbImage>> {
        let sample = mixture.parts()[*set].set.read(*index).ok()?;
        let picture = sample.picture.decode(&sample.key).ok()?;
        blip2_data::pixels::resize(&picture, processor.width, processor.height)
            .ok()
            .map(Arc::new)
    };
    ahead(&samples, threads, 2 * AT_ONCE, read, |pictures| {
        let mut done = 0;
        loop {
            let batch: Vec<Option<Arc<RgbImage>>> = pictures.take(AT_ONCE).collect();
            if batch.is_empty() {
                return Ok(());
            }
            done += batch.len();
            writer.push(features(encoder, &batch, tokens)?)?;
            observer.step(done as u64, "frozen encoder");
        }
    })
    .map_err(|error: TrainError| error)?;
    Ok(writer.finish()?)
}

/// Features `[pictures, tokens, width]`; zeros where there is no picture.
fn features(
    encoder: &LoadedEncoder,
    pictures: &[Option<Arc<RgbImage>>],
    tokens: usize,
) -> Result<Tensor<3>, TrainError> {
    let device = Device::flex();
    let there: Vec<&RgbImage> = pictures.iter().flatten().map(Arc::as_ref).collect();
    let none = || Tensor::zeros([1, tokens, encoder.encoder.width()], &device);
    if there.is_empty() {
        return Ok(none().repeat_dim(0, pictures.len()));
    }
    let encoded = encode(encoder, &there, &device)?;
    if there.len() == pictures.len() {
        return Ok(encoded);
    }
    let mut next = 0..;
    let rows = pictures.iter().map(|picture| match picture {
        Some(_) => encoded.clone().narrow(0, next.next().unwrap_or_default(), 1),
        None => none(),
    });
    Ok(Tensor::cat(rows.collect(), 0))
}
