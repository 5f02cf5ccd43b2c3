//! A row that is being written, however its tokens are chosen, and rows that are written together.

use std::sync::Arc;

use blip2_core::{ModelError, NextTokenModel};
use rayon::prelude::*;

use crate::beam::Beams;
use crate::distribution::Logits;
use crate::sequential::Texts;
use crate::{Generated, GenerationConfig, GenerationError, Token};

/// What a row begins with.
pub(crate) struct Start {
    /// How errors call it.
    pub(crate) row: usize,
    /// Row of the model that holds it.
    pub(crate) place: usize,
    /// Ids that rules count as written before.
    pub(crate) history: Vec<u32>,
    /// What decides its draws, beside the seed.
    pub(crate) stream: u64,
    /// Likeliest tokens that are named with each that is chosen, where scores are asked for.
    pub(crate) scores: Option<usize>,
}

/// One row with its settings.
pub(crate) struct Writing {
    config: Arc<GenerationConfig>,
    search: Search,
}

enum Search {
    Beams(Box<Beams>),
    Texts(Texts),
}

impl Writing {
    pub(crate) fn new(start: Start, config: Arc<GenerationConfig>) -> Self {
        let Start {
            row,
            place,
            history,
            stream,
            scores,
        } = start;
        let search = match config.num_beams > 1 {
            true => {
                let beams = Beams::new(row, place, history, stream, &config);
                Search::Beams(Box::new(beams))
            }
            false => Search::Texts(Texts::new(row, place, &history, stream, &config, scores)),
        };
        Self { config, search }
    }

    /// Chooses the next tokens.
    fn step(&mut self, logits: &Logits) -> Stepped {
        let mut heard = Vec::new();
        let mut hear = |number, token| heard.push((number, token));
        let written = match &mut self.search {
            _ if self.config.stop.is_raised() => Err(GenerationError::Stopped),
            Search::Texts(texts) => texts.step(logits, &self.config, &mut hear),
            Search::Beams(beams) => beams.step(logits, &self.config).inspect(|texts| {
                for (number, text) in texts.iter().flatten().enumerate() {
                    let tokens = text.ids.iter().map(|id| Token {
                        id: *id,
                        scores: None,
                    });
                    tokens.for_each(|token| hear(number, token));
                }
            }),
        };
        Stepped { heard, written }
    }

    /// Rows of the model that it takes.
    pub(crate) fn width(&self) -> usize {
        match &self.search {
            Search::Beams(beams) => beams.next().count(),
            Search::Texts(texts) => texts.next().count(),
        }
    }
}

/// What became of a row in a step.
pub(crate) struct Stepped {
    /// Each token that was decided, with the number of its text: at once, or with beams at the end.
    pub(crate) heard: Vec<(usize, Token)>,
    /// The texts, once they are all written.
    pub(crate) written: Result<Option<Vec<Generated>>, GenerationError>,
}

/// Chooses the next tokens of all `rows`, side by side: they know nothing of each other, and each looks at a whole vocabulary.
pub(crate) fn step_all(rows: Vec<&mut Writing>, logits: &Logits) -> Vec<Stepped> {
    rows.into_par_iter().map(|row| row.step(logits)).collect()
}

/// Feeds the newest tokens of all `rows` to `model`.
pub(crate) fn advance(
    model: &mut dyn NextTokenModel,
    rows: &mut dyn Iterator<Item = &mut Writing>,
) -> Result<(), ModelError> {
    let (mut next, mut places) = (Vec::new(), Vec::new());
    for row in rows {
        match &mut row.search {
            Search::Beams(beams) => {
                next.extend(beams.next());
                places.extend(beams.places());
            }
            Search::Texts(texts) => {
                next.extend(texts.next());
                places.extend(texts.places());
            }
        }
    }
    let (parents, tokens): (Vec<usize>, Vec<u32>) = next.into_iter().unzip();
    model.advance(&parents, &tokens)?;
    places.into_iter().zip(0..).for_each(|(place, new)| *place = new);
    Ok(())
}
