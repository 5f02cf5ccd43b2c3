//! A SentencePiece model, read from its protobuf message.

use std::ops::Range;

use blip2_core::protobuf::{Fields, Value, text};

use super::rewrites;

/// The pieces of a vocabulary, and how a text is cut into them.
pub(super) struct Model {
    /// In the order of their ids.
    pub(super) pieces: Vec<Piece>,
    pub(super) algorithm: Algorithm,
    /// How a text is normalised first: a trie of rewrites; empty where it stays as it is.
    pub(super) rewrites: Vec<u8>,
}

pub(super) struct Piece {
    pub(super) text: String,
    /// Log-probability, or, with byte pairs, how early a pair is merged.
    pub(super) score: f64,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    BytePairs,
}

/// Kinds of pieces that matter here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What stands for unknown text.
    Unknown,
    /// What stands for no text.
    Control,
    /// Text that is never cut.
    UserDefined,
    /// All else: text, and single bytes.
    Other,
}

impl Kind {
    /// The kind that the format numbers so.
    pub(super) fn numbered(number: u64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            _ => Self::Other,
        }
    }
}

impl Model {
    /// Reads the content of a `.model` file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            rewrites: Vec::new(),
        };
        for field in Fields::new(file, 0..file.len()) {
            match field? {
                (1, Value::Bytes(range)) => model.pieces.push(piece(file, range)?),
                (2, Value::Bytes(range)) => model.algorithm = algorithm(file, range)?,
                (3, Value::Bytes(range)) => model.rewrites = normalisation(file, range)?,
                _ => {}
            }
        }
        match model.pieces.is_empty() {
            true => Err("it holds no pieces: it is no SentencePiece model".to_owned()),
            false => Ok(model),
        }
    }

    /// The id of what stands for unknown text.
    pub(super) fn unknown(&self) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.kind == Kind::Unknown)
    }
}

fn piece(file: &[u8], range: Range<usize>) -> Result<Piece, String> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: Kind::Other,
    };
    for field in Fields::new(file, range) {
        match field? {
            (1, Value::Bytes(range)) => piece.text = text(file, range)?.to_owned(),
            (2, Value::Fixed(range)) => {
                if let Ok(bytes) = file[range].try_into() {
                    piece.score = f32::from_le_bytes(bytes).into();
                }
            }
            (3, Value::Integer(kind)) => piece.kind = Kind::numbered(kind),
            _ => {}
        }
    }
    match piece.score.is_finite() {
        true => Ok(piece),
        false => Err(format!("piece `{}` has the score {}", piece.text, piece.score)),
    }
}

fn algorithm(file: &[u8], range: Range<usize>) -> Result<Algorithm, String> {
    let mut algorithm = Algorithm::Unigram;
    for field in Fields::new(file, range) {
        if let (3, Value::Integer(number)) = field? {
            algorithm = match number {
                1 => Algorithm::Unigram,
                2 => Algorithm::BytePairs,
                other => {
                    return Err(format!(
                        "it cuts text by algorithm {other}; 1 (unigram) and 2 (byte pairs) are supported"
                    ));
                }
            };
        }
    }
    Ok(algorithm)
}

fn normalisation(file: &[u8], range: Range<usize>) -> Result<Vec<u8>, String> {
    let mut found = Vec::new();
    for field in Fields::new(file, range) {
        if let (2, Value::Bytes(range)) = field? {
            // An empty field is none.
            if !range.is_empty() {
                rewrites::check(&file[range.clone()])?;
            }
            found = file[range].to_vec();
        }
    }
    Ok(found)
}
