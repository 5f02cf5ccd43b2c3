//! What a store says that the bytes of an object come to, compared with those that came.

use std::io::{Error, ErrorKind, Result};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use sha2::Sha256;
use ureq::http::HeaderMap;

/// The checksum of a whole object, as one of an answer's headers has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    /// The header that has it.
    header: &'static str,
    kind: Kind,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sha256,
    Md5,
    Crc32c,
}

/// Headers that hold nothing but a checksum in base64. Where Amazon's ends with a number of parts, it is one of their checksums, and
/// none of the object.
const BARE: [(&str, Kind); 3] = [
    ("x-amz-checksum-sha256", Kind::Sha256),
    ("content-md5", Kind::Md5),
    ("x-amz-checksum-crc32c", Kind::Crc32c),
];
/// Google's, a list of `md5=...` and `crc32c=...`; of objects that were composed, only the latter.
const GOOGLE: &str = "x-goog-hash";

impl Checksum {
    /// The one that `headers` have of the whole object; of several, the strongest. An answer about a range says the same as one about
    /// the object everywhere but in `Content-MD5`: ask for the object.
    pub(super) fn named(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut found: Vec<Self> = BARE
            .into_iter()
            .filter_map(|(header, kind)| Self::from_base64(header, kind, text(header)?))
            .collect();
        let lists = headers.get_all(GOOGLE).iter();
        let entries = lists
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(','));
        found.extend(entries.filter_map(|entry| {
            let (kind, value) = entry.trim().split_once('=')?;
            let kind = match kind {
                "md5" => Kind::Md5,
                "crc32c" => Kind::Crc32c,
                _ => return None,
            };
            Self::from_base64(GOOGLE, kind, value)
        }));
        found.extend(Self::of_amazons_tag(headers));
        found.into_iter().max_by_key(|checksum| checksum.kind.length())
    }

    fn from_base64(header: &'static str, kind: Kind, value: &str) -> Option<Self> {
        let value = BASE64_STANDARD.decode(value.trim()).ok()?;
        (value.len() == kind.length()).then_some(Self { header, kind, value })
    }

    /// S3, and what speaks as it does, tag an object that came in one piece with its MD5, unless keys of somebody else encrypt it, or
    /// it lies in a directory bucket.
    fn of_amazons_tag(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_plain = text("x-amz-server-side-encryption").is_none_or(|how| how == "AES256")
            && text("x-amz-server-side-encryption-customer-algorithm").is_none()
            && text("x-amz-storage-class") != Some("EXPRESS_ONEZONE");
        text("x-amz-request-id").filter(|_| is_plain)?;
        let digits = text("etag")?.strip_prefix('"')?.strip_suffix('"')?;
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let value: Vec<u8> = pairs.map(byte).collect::<Option<_>>()?;
        (digits.len() == 32).then_some(Self {
            header: "etag",
            kind: Kind::Md5,
            value,
        })
    }
}

impl Kind {
    /// In bytes: the longest is the strongest.
    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Md5 => 16,
            Self::Crc32c => 4,
        }
    }
}

/// Adds up what comes.
pub(super) struct Check {
    expected: Checksum,
    sum: Sum,
}

enum Sum {
    Sha256(Sha256),
    Md5(Md5),
    Crc32c(u32),
}

impl Check {
    /// Of nothing as yet.
    pub(super) fn new(expected: Checksum) -> Self {
        let sum = match expected.kind {
            Kind::Sha256 => Sum::Sha256(Sha256::default()),
            Kind::Md5 => Sum::Md5(Md5::default()),
            Kind::Crc32c => Sum::Crc32c(0),
        };
        Self { expected, sum }
    }

    /// Adds the bytes that follow.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        match &mut self.sum {
            Sum::Sha256(sum) => sha2::Digest::update(sum, bytes),
            Sum::Md5(sum) => md5::Digest::update(sum, bytes),
            Sum::Crc32c(sum) => *sum = crc32c::crc32c_append(*sum, bytes),
        }
    }

    /// # Errors
    /// [`ErrorKind::InvalidData`] where the bytes are not those that the store speaks of.
    pub(super) fn end(self) -> Result<()> {
        let sum = match self.sum {
            Sum::Sha256(sum) => sha2::Digest::finalize(sum).to_vec(),
            Sum::Md5(sum) => md5::Digest::finalize(sum).to_vec(),
            Sum::Crc32c(sum) => sum.to_be_bytes().to_vec(),
        };
        if sum == self.expected.value {
            return Ok(());
        }
        let Checksum { header, kind, value } = self.expected;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let problem = format!(
            "the store says that its {kind:?} is {} ({header}), but that of what came is {}: it was damaged on its way, or in the store",
            hex(&value),
            hex(&sum)
        );
        Err(Error::new(ErrorKind::InvalidData, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    /// What RFC 1321, RFC 3720 and FIPS 180-2 say of these texts.
    #[test]
    fn sums_are_those_of_the_standards() {
        for (list, text) in [
            (&[("content-md5", "kAFQmDzST7DWlj99KOF/cg==")][..], "abc"),
            (&[("x-goog-hash", "crc32c=4waSgw==")], "123456789"),
            (
                &[(
                    "x-amz-checksum-sha256",
                    "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
                )],
                "abc",
            ),
        ] {
            let named = Checksum::named(&headers(list)).expect("a checksum");
            let check = |text: &str| {
                let mut check = Check::new(named.clone());
                let (start, end) = text.as_bytes().split_at(2);
                check.add(start);
                check.add(end);
                check.end()
            };
            check(text).expect("the same");
            let error = check("another").expect_err("other bytes").to_string();
            assert!(error.contains(list[0].0), "{error}");
        }
    }

    #[test]
    fn the_strongest_counts_and_tags_only_where_they_are_sums() {
        let tag = ("etag", "\"900150983cd24fb0d6963f7d28e17f72\"");
        let amazon = ("x-amz-request-id", "1");
        let kind = |list: &[(&'static str, &str)]| {
            let named = Checksum::named(&headers(list));
            named.map(|checksum| (checksum.header, checksum.kind))
        };
        assert_eq!(kind(&[tag, amazon]), Some(("etag", Kind::Md5)));
        let crc = ("x-amz-checksum-crc32c", "4waSgw==");
        assert_eq!(kind(&[crc]), Some((crc.0, Kind::Crc32c)));
        assert_eq!(kind(&[crc, tag, amazon]), Some(("etag", Kind::Md5)));
        let google = [
            ("x-goog-hash", "crc32c=4waSgw=="),
            ("x-goog-hash", "md5=kAFQmDzST7DWlj99KOF/cg=="),
        ];
        assert_eq!(kind(&google), Some((GOOGLE, Kind::Md5)));
        let both = [("x-goog-hash", "crc32c=4waSgw==,md5=kAFQmDzST7DWlj99KOF/cg==")];
        assert_eq!(kind(&both), Some((GOOGLE, Kind::Md5)));
        for list in [
            // Anybody's tag, one of several parts, one of encrypted bytes, one of a directory bucket; a checksum of checksums.
            &[tag][..],
            &[("etag", "\"900150983cd24fb0d6963f7d28e17f72-3\""), amazon],
            &[("etag", "W/\"900150983cd24fb0d6963f7d28e17f72\""), amazon],
            &[tag, amazon, ("x-amz-server-side-encryption", "aws:kms")],
            &[tag, amazon, ("x-amz-storage-class", "EXPRESS_ONEZONE")],
            &[("x-amz-checksum-crc32c", "4waSgw==-2")],
            &[("content-md5", "none")],
        ] {
            assert_eq!(kind(list), None, "{list:?}");
        }
    }
}
