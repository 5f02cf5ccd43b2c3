//! A row that is being written, however its tokens are chosen, and rows that are written together.

use std::sync::Arc;

use blip2_core::{ModelError, NextTokenModel};

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

    /// Chooses the next tokens; the texts once they are all written. `hear` gets each token when it is decided, with the number
    /// of its text: at once, or with beams at the end.
    pub(crate) fn step(
        &mut self,
        logits: &Logits,
        hear: &mut dyn FnMut(usize, Token),
    ) -> Result<Option<Vec<Generated>>, GenerationError> {
        if self.config.stop.is_raised() {
            return Err(GenerationError::Stopped);
        }
        match &mut self.search {
            Search::Texts(texts) => texts.step(logits, &self.config, hear),
            Search::Beams(beams) => {
                let texts = beams.step(logits, &self.config)?;
                for (number, text) in texts.iter().flatten().enumerate() {
                    let tokens = text.ids.iter().map(|id| Token {
                        id: *id,
                        scores: None,
                    });
                    tokens.for_each(|token| hear(number, token));
                }
                Ok(texts)
            }
        }
    }

    /// Rows of the model that it takes.
    pub(crate) fn width(&self) -> usize {
        match &self.search {
            Search::Beams(beams) => beams.next().count(),
            Search::Texts(texts) => texts.next().count(),
        }
    }
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
