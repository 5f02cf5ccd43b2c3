//! Storing the frozen encoder's features of a whole mixture once, for all steps to come.

use std::path::Path;
use std::sync::Arc;

use blip2::LoadedEncoder;
use blip2_data::ahead;
use blip2_data::features::{FeatureStore, FeatureWriter, content_key};
use blip2_data::mixture::Mixture;
use blip2_data::pixels::RgbImage;
use blip2_distributed::Communicator;
use burn::tensor::{Device, Tensor, TensorData};

use crate::error::io;
use crate::{Observer, TrainError, encode};

/// Pictures that go through the encoder at once.
const AT_ONCE: usize = 32;

/// Who makes features.
#[derive(Clone, Copy)]
pub struct FrozenEncoder<'a> {
    /// The encoder and how it wants pictures.
    pub loaded: &'a LoadedEncoder,
    /// SHA-256 of its weights.
    pub fingerprint: &'a str,
    /// Where it is, without autodiff.
    pub device: &'a Device,
}

/// Features of all samples of `mixture`, by [`Mixture::number`], in half precision: found under `folder`, or computed and stored
/// there. Each picture is seen whole. A sample that cannot be read gets zeros, which are never given out: another takes its place in
/// training. `ranks` share the work, and `folder`: the first of them writes.
///
/// # Errors
/// [`TrainError::Features`] or [`TrainError::Io`] where the disk refuses; [`TrainError::Model`] where pictures and encoder do
/// not fit each other.
pub fn store_features(
    mixture: &Mixture,
    encoder: FrozenEncoder<'_>,
    folder: &Path,
    threads: usize,
    ranks: &Communicator,
    observer: &dyn Observer,
) -> Result<FeatureStore, TrainError> {
    let FrozenEncoder {
        loaded: encoder,
        fingerprint,
        device,
    } = encoder;
    let processor = &encoder.processor;
    let key = content_key(&[
        fingerprint.as_bytes(),
        format!("{processor:?}").as_bytes(),
        mixture.fingerprint().as_bytes(),
    ]);
    let path = folder.join(format!("{}.safetensors", &key[..16]));
    let mut found = None;
    if path.exists() {
        match FeatureStore::open(&path, &key) {
            Ok(store) => found = Some(store),
            Err(error) => observer.note(&format!("stored features are computed anew: {error}")),
        }
    }
    let all_found = ranks.all_gather("stored features", &[u8::from(found.is_some())])?;
    if let (Some(store), true) = (found, all_found.iter().all(|found| *found == [1])) {
        return Ok(store);
    }
    let (height, width) = (processor.height as usize, processor.width as usize);
    let tokens = encoder.encoder.tokens(height, width)?;
    let samples: Vec<(usize, u64)> = (0..)
        .zip(mixture.parts())
        .flat_map(|(set, part)| (0..part.set.len()).map(move |index| (set, index)))
        .collect();
    let width = encoder.encoder.width();
    let mut writer = match ranks.is_first() {
        true => {
            std::fs::create_dir_all(folder).map_err(io("create", folder))?;
            Some(FeatureWriter::create(&path, &key, samples.len(), tokens, width)?)
        }
        false => None,
    };
    // Ranks take turns, AT_ONCE samples each.
    let turns = samples.len().div_ceil(AT_ONCE * ranks.size());
    let own = samples.chunks(AT_ONCE).skip(ranks.rank()).step_by(ranks.size());
    let own: Vec<(usize, u64)> = own.flatten().copied().collect();
    observer.phase("features", samples.len() as u64);
    let read = |(set, index): &(usize, u64)| -> Option<Arc<RgbImage>> {
        let sample = mixture.parts()[*set].set.read(*index).ok()?;
        let picture = sample.picture.decode(&sample.key).ok()?;
        blip2_data::pixels::resize(&picture, processor.width, processor.height)
            .ok()
            .map(Arc::new)
    };
    ahead(&own, threads, 2 * AT_ONCE, read, |pictures| {
        let mut done = 0;
        for _ in 0..turns {
            let batch: Vec<Option<Arc<RgbImage>>> = pictures.take(AT_ONCE).collect();
            let own = match batch.is_empty() {
                true => None,
                false => Some(features(encoder, &batch, tokens, device)?),
            };
            for features in at_the_first(ranks, own, [tokens, width])? {
                done += features.dims()[0];
                if let Some(writer) = &mut writer {
                    writer.push(features)?;
                }
            }
            observer.step(done as u64, "frozen encoder");
        }
        Ok(())
    })
    .map_err(|error: TrainError| error)?;
    let written = writer.map(FeatureWriter::finish).transpose()?;
    ranks.barrier("features are stored")?;
    match written {
        Some(store) => Ok(store),
        None => Ok(FeatureStore::open(&path, &key)?),
    }
}

/// The features `[pictures, tokens, width]` of all ranks in their order, at the first; nothing at the others.
fn at_the_first(
    ranks: &Communicator,
    own: Option<Tensor<3>>,
    [tokens, width]: [usize; 2],
) -> Result<Vec<Tensor<3>>, TrainError> {
    if ranks.is_alone() {
        return Ok(own.into_iter().collect());
    }
    let mut to = vec![Vec::new(); ranks.size()];
    if let Some(own) = own {
        let values: Vec<f32> = own.into_data().iter::<f32>().collect();
        to[0] = bytemuck::cast_slice(&values).to_vec();
    }
    let all = ranks.all_to_all("features to store", &to)?;
    let features = |bytes: &Vec<u8>| {
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        let shape = [values.len() / (tokens * width), tokens, width];
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    };
    Ok(all
        .iter()
        .filter(|bytes| !bytes.is_empty())
        .map(features)
        .collect())
}

/// Features `[pictures, tokens, width]`; zeros where there is no picture.
fn features(
    encoder: &LoadedEncoder,
    pictures: &[Option<Arc<RgbImage>>],
    tokens: usize,
    device: &Device,
) -> Result<Tensor<3>, TrainError> {
    let there: Vec<&RgbImage> = pictures.iter().flatten().map(Arc::as_ref).collect();
    let none = || Tensor::zeros([1, tokens, encoder.encoder.width()], device);
    if there.is_empty() {
        return Ok(none().repeat_dim(0, pictures.len()));
    }
    let encoded = encode(encoder, &there, device)?;
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
