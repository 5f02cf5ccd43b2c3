//! Captions against those of people: COCO, NoCaps, Flickr30k.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use blip2::{Blip2Error, GenerationConfig};
use blip2_evaluation::caption::CaptionedImage;
use blip2_evaluation::official::{Document, Id, domains};
use serde_json::json;

use super::measured::{Case, Measured, document};
use super::work::Work;
use crate::commands::caption_scores::{CaptionScorers, CaptionScores};

/// The score by which cases are better or worse than others.
const QUALITY: &str = "CIDEr";
/// The format whose pictures have a domain each.
const NOCAPS: &str = "nocaps";

/// How captions are written and judged.
pub(super) struct Writing<'a> {
    pub(super) prompt: &'a str,
    pub(super) settings: &'a GenerationConfig,
    pub(super) scorers: &'a CaptionScorers,
}

/// Captions all pictures, and judges them where the set has captions of people.
pub(super) fn measure(work: &Work, writing: &Writing) -> Result<Option<Measured>> {
    let known = work.each("captions", |pictures, _| -> Result<Vec<String>, Blip2Error> {
        let prompts = vec![writing.prompt.to_owned(); pictures.len()];
        let written = work.model.caption(pictures, &prompts, writing.settings)?;
        Ok(written
            .into_iter()
            .step_by(writing.settings.num_return_sequences)
            .map(|written| written.text)
            .collect())
    })?;
    let Some(found) = work.whole(known)? else {
        return Ok(None);
    };
    let failed = found.iter().filter(|caption| caption.is_err()).count();
    let captioned: Vec<(usize, String)> = found
        .into_iter()
        .enumerate()
        .filter_map(|(unit, caption)| Some((unit, caption.ok()?)))
        .collect();
    let result = |(unit, caption): &(usize, String)| json!({"image_id": official_id(&work.units[*unit].image_id), "caption": caption});
    let mut measured = Measured {
        results: Some(captioned.iter().map(result).collect()),
        failed,
        ..Measured::default()
    };
    let judged: Vec<(usize, CaptionedImage)> = captioned
        .into_iter()
        .filter(|(unit, _)| !work.units[*unit].texts.is_empty())
        .map(|(unit, candidate)| {
            let references = work.units[unit].texts.clone();
            (
                unit,
                CaptionedImage {
                    candidate,
                    references,
                },
            )
        })
        .collect();
    if judged.is_empty() {
        let why = "the set has no captions of people: the evaluation server does".to_owned();
        measured.not_measured.insert("captions", why);
        return Ok(Some(measured));
    }
    let images: Vec<CaptionedImage> = judged.iter().map(|(_, image)| image.clone()).collect();
    let CaptionScores { scores, not_measured } = writing.scorers.score(&images)?;
    measured.not_measured = not_measured;
    let overall = scores
        .iter()
        .map(|(name, score)| ((*name).to_owned(), score.corpus));
    measured.figures.extend(overall);
    if work.data.spec.format == NOCAPS {
        let groups = by_domain(work, &judged);
        if groups.is_empty() {
            let why = "the file is not NoCaps' own, which alone tells them".to_owned();
            measured.not_measured.insert("domains", why);
        }
        for (domain, images) in groups {
            for (name, score) in writing.scorers.score(&images)?.scores {
                measured.figures.push((format!("{domain}: {name}"), score.corpus));
            }
        }
    }
    let quality = scores.into_iter().find(|(name, _)| *name == QUALITY);
    let qualities = quality.map_or(Vec::new(), |(_, score)| score.per_image);
    measured.cases = judged
        .into_iter()
        .zip(qualities)
        .map(|((unit, image), quality)| Case {
            unit,
            quality,
            truth: image.references.into_iter().next().unwrap_or_default(),
            written: image.candidate,
        })
        .collect();
    Ok(Some(measured))
}

/// The id as the official files have it: of a list that has names alone it is the end of a name, with zeros in front (COCO).
fn official_id(image_id: &str) -> Id {
    image_id.parse().map_or_else(|_| Id::of(image_id), Id::Number)
}

/// The images of each domain; none where the file of the set tells none, as LAVIS's list of the same pictures.
fn by_domain(work: &Work, judged: &[(usize, CaptionedImage)]) -> BTreeMap<String, Vec<CaptionedImage>> {
    let mut groups: BTreeMap<String, Vec<CaptionedImage>> = BTreeMap::new();
    let Ok((name, content)) = document(Path::new(&work.data.spec.path)) else {
        return groups;
    };
    let document = Document {
        name: &name,
        content: &content,
    };
    let Ok(domains) = domains(document) else {
        return groups;
    };
    for (unit, image) in judged {
        if let Some(domain) = domains.get(&Id::of(&work.units[*unit].image_id)) {
            groups.entry(domain.clone()).or_default().push(image.clone());
        }
    }
    groups
}
