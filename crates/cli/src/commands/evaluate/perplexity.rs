//! What the captions of people cost under the language model.

use anyhow::{Result, ensure};
use blip2::TextCost;

use super::measured::{Case, Measured};
use super::work::Work;

/// Costs of the captions of all pictures, behind `prompt`.
pub(super) fn measure(work: &Work, prompt: &str) -> Result<Option<Measured>> {
    let known = work.each("costs", |pictures, units| {
        let captions: Vec<&[String]> = units
            .iter()
            .map(|unit| work.units[*unit].texts.as_slice())
            .collect();
        work.model.caption_costs(pictures, &captions, prompt)
    })?;
    let Some(found) = work.whole::<TextCost>(known)? else {
        return Ok(None);
    };
    let failed = found.iter().filter(|cost| cost.is_err()).count();
    let costs: Vec<(usize, TextCost)> = found
        .into_iter()
        .enumerate()
        .filter_map(|(unit, cost)| Some((unit, cost.ok()?)))
        .filter(|(_, cost)| cost.tokens > 0)
        .collect();
    ensure!(
        !costs.is_empty(),
        "no picture has a caption whose cost could be measured"
    );
    let (nats, tokens) = costs.iter().fold((0.0, 0), |(nats, tokens), (_, cost)| {
        (nats + cost.nats, tokens + cost.tokens)
    });
    let bits = |nats: f64, tokens: usize| nats / tokens as f64 / std::f64::consts::LN_2;
    let figures = [
        ("bits a token", bits(nats, tokens)),
        ("perplexity", (nats / tokens as f64).exp()),
        ("tokens", tokens as f64),
    ];
    Ok(Some(Measured {
        figures: figures.map(|(name, figure)| (name.to_owned(), figure)).to_vec(),
        cases: costs
            .iter()
            .map(|(unit, cost)| Case {
                unit: *unit,
                quality: -bits(cost.nats, cost.tokens),
                truth: format!(
                    "{} ({:.2} bits a token)",
                    work.units[*unit].texts[0],
                    bits(cost.nats, cost.tokens)
                ),
                written: String::new(),
            })
            .collect(),
        failed,
        ..Measured::default()
    }))
}
