//! Retrieval in two stages: contrast of all pictures with all texts, then matching of the best of each.

use anyhow::{Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use blip2::Blip2Error;
use blip2_evaluation::retrieval::{Captions, MAX_TEXT_TOKENS, Reranking, ranks};
use blip2_qformer::best_query;
use burn::tensor::{Device, Tensor, TensorData};

use super::measured::{Case, Measured};
use super::work::Work;

/// Pictures whose similarities with all texts are computed at once.
const IMAGES_AT_ONCE: usize = 16;

/// Ranks all texts for each picture and all pictures for each text; `k` of each are re-ranked, none for 0.
pub(super) fn measure(work: &Work, k: usize) -> Result<Option<Measured>> {
    let (mut texts, mut image_of) = (Vec::new(), Vec::new());
    for (image, unit) in work.units.iter().enumerate() {
        image_of.extend(std::iter::repeat_n(image, unit.texts.len()));
        texts.extend_from_slice(&unit.texts);
    }
    if texts.is_empty() {
        bail!(
            "the data set {} has no captions to retrieve",
            work.data.samples().name()
        );
    }
    let captions = Captions::new(work.units.len(), image_of)?;
    let model = work.model.representation_model()?;
    let ids = work.model.caption_ids(&texts, MAX_TEXT_TOKENS)?;
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();

    let known = work.each("embeddings", |pictures, _| -> Result<Vec<String>, Blip2Error> {
        let context = model.image_context(work.model.image_features(pictures)?)?;
        let embeddings = model.embed_images(&context);
        let packed = (0..pictures.len()).map(|image| packed(embeddings.clone().narrow(0, image, 1)));
        Ok(packed.collect())
    })?;
    let Some(found) = work.whole(known)? else {
        return Ok(None);
    };
    let embeddings = usable(work, found)?;
    let embedded = model.embed_texts(&ids)?;
    let mut similarities = Vec::with_capacity(embeddings.len());
    for some in embeddings.chunks(IMAGES_AT_ONCE) {
        let [_, width] = embedded.dims();
        let some = some
            .iter()
            .map(|text| unpacked(text, width, &embedded.device()))
            .collect::<Result<Vec<_>>>()?;
        let some = best_query(Tensor::cat(some, 0), embedded.clone()).into_data();
        let values: Vec<f32> = some.iter().collect();
        similarities.extend(values.chunks(ids.len()).map(<[f32]>::to_vec));
    }
    let reranking = Reranking::new(similarities, k)?;

    let known = work.each(
        "matches",
        |pictures, units| -> Result<Vec<Vec<f32>>, Blip2Error> {
            let pairs = reranking.pairs();
            if units.iter().all(|unit| pairs[*unit].is_empty()) {
                return Ok(vec![Vec::new(); units.len()]);
            }
            let context = model.image_context(work.model.image_features(pictures)?)?;
            let matches = units.iter().enumerate().map(|(image, unit)| {
                let texts: Vec<&[u32]> = pairs[*unit].iter().map(|text| ids[*text]).collect();
                Ok(model.match_image(&context.select(&[image]), &texts)?)
            });
            matches.collect()
        },
    )?;
    let Some(found) = work.whole(known)? else {
        return Ok(None);
    };
    let [to_text, to_image] = reranking.scores(&usable(work, found)?)?;
    let figures = captions.both_ways(&to_text, &to_image)?.named();
    let image_ranks = ranks(&to_text, captions.texts_of())?;
    let cases = image_ranks.into_iter().enumerate().filter_map(|(unit, rank)| {
        let best =
            (0..texts.len()).max_by(|one, other| to_text[unit][*one].total_cmp(&to_text[unit][*other]))?;
        Some(Case {
            unit,
            quality: -(rank? as f64),
            truth: texts[*captions.texts_of()[unit].first()?].clone(),
            written: texts[best].clone(),
        })
    });
    Ok(Some(Measured {
        figures: figures.map(|(name, figure)| (name.to_owned(), figure)).to_vec(),
        cases: cases.collect(),
        ..Measured::default()
    }))
}

/// What was found of every picture: without one, every rank would be another.
fn usable<Found>(work: &Work, found: Vec<Result<Found, String>>) -> Result<Vec<Found>> {
    let failed = found.iter().filter(|found| found.is_err()).count();
    if failed > 0 {
        bail!(
            "{failed} of {} pictures could not be used, without which ranks mean nothing: see above, mend them and run this again",
            work.units.len()
        );
    }
    Ok(found.into_iter().flatten().collect())
}

/// The embeddings `[1, queries, width]` of a picture as text that gives back the same bits.
fn packed(embeddings: Tensor<3>) -> String {
    let values = embeddings.into_data();
    let bytes: Vec<u8> = values.iter::<f32>().flat_map(f32::to_le_bytes).collect();
    BASE64_STANDARD.encode(bytes)
}

fn unpacked(text: &str, width: usize, device: &Device) -> Result<Tensor<3>> {
    let bytes = BASE64_STANDARD.decode(text)?;
    let values: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    if width == 0 || !values.len().is_multiple_of(width) {
        bail!(
            "{} values are no embeddings of width {width}: remove the files of lines",
            values.len()
        );
    }
    let shape = [1, values.len() / width, width];
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}
