//! Metadata: named values of thirteen types.

use super::reader::Reader;

/// How deep arrays may hold arrays: files in use have none inside of another.
const DEEPEST: usize = 4;

/// A metadata value with the type that the file gives it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GgufValue {
    /// 8 bits, unsigned.
    U8(u8),
    /// 8 bits, signed.
    I8(i8),
    /// 16 bits, unsigned.
    U16(u16),
    /// 16 bits, signed.
    I16(i16),
    /// 32 bits, unsigned.
    U32(u32),
    /// 32 bits, signed.
    I32(i32),
    /// Single precision.
    F32(f32),
    /// True or false.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// Values of one type.
    Array(Vec<GgufValue>),
    /// 64 bits, unsigned.
    U64(u64),
    /// 64 bits, signed.
    I64(i64),
    /// Double precision.
    F64(f64),
}

impl GgufValue {
    /// Any integer that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::U64(value) => Some(value),
            Self::I8(value) => value.try_into().ok(),
            Self::I16(value) => value.try_into().ok(),
            Self::I32(value) => value.try_into().ok(),
            Self::I64(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// A float of either precision.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }

    /// True or false.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[GgufValue]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The elements of an array of texts.
    pub fn as_texts(&self) -> Option<Vec<&str>> {
        self.as_array()?.iter().map(Self::as_text).collect()
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::F32(_) | Self::F64(_) => "a float",
            Self::Text(_) => "text",
            Self::Array(_) => "an array",
            _ => "an integer",
        }
    }

    /// Reads a type code and a value of that type.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, String> {
        let code = reader.u32()?;
        Self::read_as(code, reader, DEEPEST)
    }

    fn read_as(code: u32, reader: &mut Reader, depth: usize) -> Result<Self, String> {
        Ok(match code {
            0 => Self::U8(reader.array().map(u8::from_le_bytes)?),
            1 => Self::I8(reader.array().map(i8::from_le_bytes)?),
            2 => Self::U16(reader.array().map(u16::from_le_bytes)?),
            3 => Self::I16(reader.array().map(i16::from_le_bytes)?),
            4 => Self::U32(reader.u32()?),
            5 => Self::I32(reader.array().map(i32::from_le_bytes)?),
            6 => Self::F32(reader.array().map(f32::from_le_bytes)?),
            7 => match reader.array()? {
                [0] => Self::Bool(false),
                [1] => Self::Bool(true),
                [other] => return Err(format!("a boolean before byte {} is {other}", reader.position())),
            },
            8 => Self::Text(reader.text()?.to_owned()),
            9 => Self::read_array(reader, depth)?,
            10 => Self::U64(reader.u64()?),
            11 => Self::I64(reader.array().map(i64::from_le_bytes)?),
            12 => Self::F64(reader.array().map(f64::from_le_bytes)?),
            _ => {
                return Err(format!(
                    "the value before byte {} has the unknown type {code}",
                    reader.position()
                ));
            }
        })
    }

    fn read_array(reader: &mut Reader, depth: usize) -> Result<Self, String> {
        if depth == 0 {
            return Err(format!(
                "arrays are nested more than {DEEPEST} deep at byte {}",
                reader.position()
            ));
        }
        let code = reader.u32()?;
        let smallest = match code {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            9 => 12,
            _ => 8,
        };
        let count = reader.count("array elements", smallest)?;
        // Collected one by one, so that what is held never runs ahead of what the file really has.
        (0..count)
            .map(|_| Self::read_as(code, reader, depth - 1))
            .collect::<Result<_, _>>()
            .map(Self::Array)
    }
}
