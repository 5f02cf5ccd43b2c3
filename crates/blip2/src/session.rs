//! Texts of many people over one model, written together: [`blip2_generation::Session`] in words and pictures.

use blip2_core::Segment;
use blip2_generation::{GenerationConfig, Request, Session};

use crate::captions::ended_by;
use crate::encoded::EncodedPicture;
use crate::streams::digest;
use crate::{Blip2, Blip2Error};

/// A piece of what is put to the language model.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a prompt has a handful of pieces: a box for each picture would save nothing"
)]
pub enum Piece {
    /// A picture.
    Picture(EncodedPicture),
    /// What a person wrote.
    Text(String),
}

impl Blip2 {
    /// A place where texts are written together. What the language model made of beginnings is kept in up to `remembered` bytes,
    /// so that the next question about the same picture costs its own words alone.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] without stage 2; [`Blip2Error`] where the language model cannot be loaded.
    pub fn session(&self, remembered: usize) -> Result<Session<'_>, Blip2Error> {
        Ok(Session::new(self.language_model()?.model.open(remembered)))
    }

    /// What [`Session::admit`] takes to write behind `pieces`, while the Q-Former reads `read` beside each picture, where it reads a
    /// text. The special ids of the family stand around the texts as around one. What is drawn depends on the seed, on `pieces`,
    /// and on `number`, so that several texts of one request differ. `scores` asks for those of tokens.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn request(
        &self,
        pieces: &[Piece],
        read: &str,
        settings: &GenerationConfig,
        number: u64,
        scores: Option<usize>,
    ) -> Result<Request, Blip2Error> {
        self.request_reading(pieces, std::iter::repeat(read), settings, number, scores)
    }

    /// The same, while the Q-Former reads the next of `read` beside each picture.
    pub(crate) fn request_reading<'a>(
        &self,
        pieces: &[Piece],
        mut read: impl Iterator<Item = &'a str>,
        settings: &GenerationConfig,
        number: u64,
        scores: Option<usize>,
    ) -> Result<Request, Blip2Error> {
        let language_model = self.language_model()?;
        let texts: Vec<&str> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Picture(_) => None,
            })
            .collect();
        for text in &texts {
            self.refuse_placeholder(text)?;
        }
        let mut texts = language_model.tokenizer.encode_pieces(&texts)?.into_iter();
        let (mut prompt, mut history) = (Vec::new(), Vec::new());
        for piece in pieces {
            let segment = match piece {
                Piece::Picture(picture) => {
                    let read = read.next().expect("a text for each picture");
                    let soft = self.bridged(picture.features.clone(), &[read])?.projected;
                    let queries = soft.dims()[1];
                    history.extend(self.usage.image_token.iter().cycle().take(queries));
                    Segment::Soft(soft.squeeze_dim(0))
                }
                Piece::Text(_) => {
                    let ids = texts.next().unwrap_or_default();
                    history.extend(&ids);
                    Segment::Ids(ids)
                }
            };
            prompt.push(segment);
        }
        // Where there is no text, what stands around one still does.
        prompt.extend(texts.map(|ids| {
            history.extend(&ids);
            Segment::Ids(ids)
        }));
        let number = number.to_le_bytes();
        let contents = pieces.iter().map(|piece| match piece {
            Piece::Picture(picture) => &picture.content[..],
            Piece::Text(text) => text.as_bytes(),
        });
        let stream = digest(&contents.chain([&number[..]]).collect::<Vec<_>>());
        Ok(Request {
            prompt,
            history: language_model.model.history(&history),
            stream,
            settings: ended_by(settings, self.ends(language_model)),
            scores,
        })
    }

    /// The text of `ids` that the language model wrote.
    ///
    /// # Errors
    /// As for [`Blip2::session`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, Blip2Error> {
        Ok(self.language_model()?.tokenizer.decode(ids)?)
    }
}
