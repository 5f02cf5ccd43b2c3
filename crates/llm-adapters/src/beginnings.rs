//! Prefix cache: keys and values of beginnings that were read before, kept for texts that begin alike while there is room; those
//! that were used last stay longest.

use std::hash::{BuildHasher, RandomState};

use blip2_core::Segment;
use burn::tensor::DType;

use crate::cache::Remembered;

/// What stands at a place of a text: a word, or a query of a soft prompt that is known by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Word(u32),
    Soft { content: u64, query: usize },
}

/// Neighbouring tokens that were read together.
#[derive(Clone)]
pub(crate) struct Piece {
    /// How many of them count, from the first.
    pub(crate) tokens: usize,
    /// `[1, key heads, tokens or more, head width]` of each layer.
    pub(crate) layers: Vec<Remembered>,
}

struct Beginning {
    places: Vec<Place>,
    pieces: Vec<Piece>,
}

/// The beginnings that are kept.
pub(crate) struct Beginnings {
    /// Bytes that they may take.
    room: usize,
    /// The one used last is the last.
    kept: Vec<Beginning>,
    /// Nobody outside can tell which contents would be taken for each other.
    content: RandomState,
}

impl Beginnings {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room,
            kept: Vec::new(),
            content: RandomState::new(),
        }
    }

    /// The same with `room` bytes.
    pub(crate) fn within(mut self, room: usize) -> Self {
        self.room = room;
        self.make_room();
        self
    }

    /// Bytes that they may take.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// What stands at the places of `prompt`; nothing where none is kept.
    pub(crate) fn places(&self, prompt: &[Segment]) -> Vec<Place> {
        if self.room == 0 {
            return Vec::new();
        }
        let mut places = Vec::new();
        for segment in prompt {
            match segment {
                Segment::Ids(ids) => places.extend(ids.iter().map(|id| Place::Word(*id))),
                Segment::Soft(states) => {
                    let [queries, _] = states.dims();
                    let data = states.clone().cast(DType::F32).into_data();
                    let content = self.content.hash_one(data.as_bytes());
                    places.extend((0..queries).map(|query| Place::Soft { content, query }));
                }
            }
        }
        places
    }

    /// What is kept of the longest beginning of `places`, of which at least the last is left to read.
    pub(crate) fn find(&mut self, places: &[Place]) -> Vec<Piece> {
        let [known @ .., _] = places else {
            return Vec::new();
        };
        let common = |beginning: &Beginning| {
            let pairs = beginning.places.iter().zip(known);
            pairs.take_while(|(kept, place)| kept == place).count()
        };
        let lengths = self.kept.iter().map(common).enumerate();
        let Some((index, length)) = lengths.max_by_key(|(_, length)| *length) else {
            return Vec::new();
        };
        if length == 0 {
            return Vec::new();
        }
        let beginning = self.kept.remove(index);
        let mut left = length;
        let mut pieces = Vec::new();
        for piece in &beginning.pieces {
            let tokens = piece.tokens.min(left);
            left -= tokens;
            if tokens > 0 {
                pieces.push(Piece {
                    tokens,
                    ..piece.clone()
                });
            }
        }
        self.kept.push(beginning);
        pieces
    }

    /// Keeps what was read at `places`, and drops what was used longest ago where there is no room for it.
    pub(crate) fn keep(&mut self, places: Vec<Place>, pieces: &[Piece]) {
        let known = |beginning: &Beginning| beginning.places.starts_with(&places);
        if places.is_empty() || self.kept.iter().any(known) {
            return;
        }
        self.kept
            .retain(|beginning| !places.starts_with(&beginning.places));
        self.kept.push(Beginning {
            places,
            pieces: pieces.to_vec(),
        });
        self.make_room();
    }

    fn make_room(&mut self) {
        let mut bytes: usize = self.kept.iter().map(Beginning::bytes).sum();
        while bytes > self.room {
            bytes -= self.kept.remove(0).bytes();
        }
    }
}

impl Beginning {
    /// Memory that it takes by itself: what it shares with others is counted for each.
    fn bytes(&self) -> usize {
        let layers = self.pieces.iter().flat_map(|piece| &piece.layers);
        layers.map(Remembered::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    /// Memory of one token: two layers, keys and values of one head of width 2.
    const TOKEN: usize = 2 * 2 * 2 * 4;

    fn piece(tokens: usize) -> Piece {
        let states = || Tensor::zeros([1, 1, tokens, 2], &Device::flex());
        let layer = || Remembered {
            key: states(),
            value: states(),
        };
        Piece {
            tokens,
            layers: vec![layer(), layer()],
        }
    }

    fn words(ids: &[u32]) -> Vec<Place> {
        ids.iter().map(|id| Place::Word(*id)).collect()
    }

    fn found(beginnings: &mut Beginnings, ids: &[u32]) -> Vec<usize> {
        let pieces = beginnings.find(&words(ids));
        pieces.iter().map(|piece| piece.tokens).collect()
    }

    #[test]
    fn the_longest_common_beginning_is_found_and_one_place_is_left() {
        let mut beginnings = Beginnings::new(100 * TOKEN);
        beginnings.keep(words(&[1, 2, 3, 4]), &[piece(3), piece(1)]);
        beginnings.keep(words(&[1, 2, 9]), &[piece(3)]);
        assert_eq!(found(&mut beginnings, &[1, 2, 3, 4, 5]), [3, 1]);
        assert_eq!(found(&mut beginnings, &[1, 2, 3, 4]), [3]);
        assert_eq!(found(&mut beginnings, &[1, 2, 9, 9]), [3]);
        assert_eq!(found(&mut beginnings, &[1, 7]), [1]);
        assert_eq!(found(&mut beginnings, &[7, 1]), [0; 0]);
        assert_eq!(found(&mut beginnings, &[1]), [0; 0]);
    }

    #[test]
    fn a_longer_text_takes_the_place_of_its_beginning() {
        let mut beginnings = Beginnings::new(5 * TOKEN);
        beginnings.keep(words(&[1, 2]), &[piece(2)]);
        beginnings.keep(words(&[1, 2, 3]), &[piece(2), piece(1)]);
        beginnings.keep(words(&[1]), &[piece(1)]);
        assert_eq!(beginnings.kept.len(), 1);
        assert_eq!(found(&mut beginnings, &[1, 2, 3, 4]), [2, 1]);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut beginnings = Beginnings::new(5 * TOKEN);
        beginnings.keep(words(&[1, 1]), &[piece(2)]);
        beginnings.keep(words(&[2, 2]), &[piece(2)]);
        assert_eq!(found(&mut beginnings, &[1, 1, 5]), [2]);
        beginnings.keep(words(&[3, 3]), &[piece(2)]);
        assert_eq!(found(&mut beginnings, &[2, 2, 5]), [0; 0]);
        assert_eq!(found(&mut beginnings, &[1, 1, 5]), [2]);
        assert_eq!(found(&mut beginnings, &[3, 3, 5]), [2]);
        beginnings.keep(words(&[4; 6]), &[piece(6)]);
        assert!(
            beginnings.kept.is_empty(),
            "what is larger than the room is not kept"
        );
    }

    #[test]
    fn less_room_keeps_what_was_used_last() {
        let mut beginnings = Beginnings::new(5 * TOKEN);
        beginnings.keep(words(&[1, 1]), &[piece(2)]);
        beginnings.keep(words(&[2, 2]), &[piece(2)]);
        let mut beginnings = beginnings.within(3 * TOKEN);
        assert_eq!(found(&mut beginnings, &[1, 1, 5]), [0; 0]);
        assert_eq!(found(&mut beginnings, &[2, 2, 5]), [2]);
    }

    #[test]
    fn soft_prompts_are_known_by_their_content() {
        let soft = |value: f32| Segment::Soft(Tensor::full([2, 3], value, &Device::flex()));
        let beginnings = Beginnings::new(1);
        let places = |value| beginnings.places(&[soft(value), Segment::Ids(vec![7])]);
        assert_eq!(places(1.0), places(1.0));
        assert_ne!(places(1.0)[0], places(2.0)[0]);
        assert_ne!(places(1.0)[0], places(1.0)[1]);
        assert_eq!(places(1.0)[2], Place::Word(7));
    }
}
