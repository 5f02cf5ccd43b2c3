//! Members of a tar archive with their places, whoever wrote it: USTAR, GNU and PAX, whole or broken off.
//!
//! Nothing is taken from the archive on trust: a header counts only with the right checksum, a size only if so many bytes
//! follow, and no memory is taken for either.

mod header;
mod records;
mod source;
mod walk;

pub(super) use source::{ReadAt, Span};
pub(super) use walk::{Broken, End, Member, Walk};

/// Headers and the data of members begin at multiples of it.
pub(super) const BLOCK: u64 = 512;
