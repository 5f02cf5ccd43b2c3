//! JSON files of annotations, hundreds of megabytes of them: parsed where they are mapped, an entry at a time.

use std::fmt;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Track;

use super::SetError;

/// The bytes of `path`, mapped; `None` of an empty file.
///
/// # Errors
/// Where it cannot be opened, or is a folder.
pub(super) fn map(path: &Path) -> Result<Option<Mmap>, SetError> {
    let file = File::open(path).map_err(SetError::reading(path))?;
    let length = file.metadata().map_err(SetError::reading(path))?.len();
    if length == 0 {
        return Ok(None);
    }
    // SAFETY: as with weights, files of a data set are read-only while they are used; whoever cuts one short meanwhile ends
    // the program.
    let mapped = unsafe { Mmap::map(&file) };
    mapped.map(Some).map_err(SetError::reading(path))
}

/// A JSON file.
pub(super) struct Json {
    pub(super) path: PathBuf,
    map: Option<Mmap>,
}

impl Json {
    pub(super) fn open(path: &Path) -> Result<Self, SetError> {
        Ok(Self {
            path: path.to_owned(),
            map: map(path)?,
        })
    }

    /// All of it as a `T`, which has fields for no more than it needs.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, SetError> {
        self.read(PhantomData, || PhantomData::<T>)
    }

    /// Hands each entry of a list to `each`.
    pub(super) fn elements<T: DeserializeOwned>(&self, each: impl FnMut(T)) -> Result<(), SetError> {
        self.read(Elements(each, PhantomData), || Elements(|_: T| {}, PhantomData))
    }

    /// Hands each key of an object to `each`, with what stands under it.
    pub(super) fn entries<T: DeserializeOwned>(&self, each: impl FnMut(String, T)) -> Result<(), SetError> {
        self.read(Entries(each, PhantomData), || Entries(|_, _: T| {}, PhantomData))
    }

    /// What the file is, by the keys with which it begins.
    pub(super) fn layout(&self) -> Result<Layout, SetError> {
        let mut json = serde_json::Deserializer::from_slice(self.bytes());
        let mut found = None;
        let parsed = Beginning(&mut found).deserialize(&mut json);
        match (found, parsed) {
            (Some(layout), _) => Ok(layout),
            (None, Err(error)) => Err(SetError::malformed(&self.path, error)),
            (None, Ok(())) => Ok(Layout::List),
        }
    }

    fn bytes(&self) -> &[u8] {
        let bytes = self.map.as_deref().unwrap_or_default();
        bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
    }

    /// What `seed` makes of the file. Noting at each step where one is takes longer than parsing does, so that is left for
    /// the case of an error, and to another seed: nothing is handed out twice.
    fn read<'own, Seed, Again>(
        &'own self,
        seed: Seed,
        again: impl FnOnce() -> Again,
    ) -> Result<Seed::Value, SetError>
    where
        Seed: DeserializeSeed<'own>,
        Again: DeserializeSeed<'own>,
    {
        let mut json = serde_json::Deserializer::from_slice(self.bytes());
        let parsed = seed.deserialize(&mut json);
        parsed
            .and_then(|value| json.end().map(|()| value))
            .map_err(|error| {
                let mut track = Track::new();
                let mut json = serde_json::Deserializer::from_slice(self.bytes());
                let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
                let place = match again().deserialize(tracked) {
                    Ok(_) => "behind its end".to_owned(),
                    Err(_) => track.path().to_string(),
                };
                SetError::malformed_at(&self.path, place.trim_start_matches('.'), error)
            })
    }
}

struct Elements<T, Each>(Each, PhantomData<T>);

impl<'de, T: Deserialize<'de>, Each: FnMut(T)> DeserializeSeed<'de> for Elements<T, Each> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, Each: FnMut(T)> Visitor<'de> for Elements<T, Each> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            (self.0)(entry);
        }
        Ok(())
    }
}

struct Entries<T, Each>(Each, PhantomData<T>);

impl<'de, T: Deserialize<'de>, Each: FnMut(String, T)> DeserializeSeed<'de> for Entries<T, Each> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>, Each: FnMut(String, T)> Visitor<'de> for Entries<T, Each> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

/// How a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `{`
    Object,
    /// `[`, and the first entry has a key `image`, as in all lists of LAVIS.
    ListOfImages,
    /// `[`, and what follows is something else.
    List,
}

/// Finds the layout and leaves the rest of the file unread, which the parser then complains of.
struct Beginning<'found>(&'found mut Option<Layout>);

impl<'de> DeserializeSeed<'de> for Beginning<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Beginning<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        *self.0 = Some(Layout::Object);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct First {
            image: Option<IgnoredAny>,
        }
        let first: Option<First> = list.next_element()?;
        *self.0 = Some(match first.and_then(|first| first.image) {
            Some(_) => Layout::ListOfImages,
            None => Layout::List,
        });
        Ok(())
    }
}

/// What names a picture or a question: a whole number, or text in which leading zeros count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Id;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number or text")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id::Number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
                // Negative: only its name counts.
                Ok(Id::Text(number.to_string()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A text, or a list of them; null entries of a list are no texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Texts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element::<Option<String>>()? {
                    texts.extend(text);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}
