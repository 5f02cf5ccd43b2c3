//! Writing a data set as webdataset shards: what a run reads in its place is the same to the bit.

use std::fs::{File, create_dir_all};
use std::io::Cursor;
use std::path::Path;

use blip2_data::sets::Dataset;
use image::ImageFormat;
use tar::{Builder, Header};

use crate::MiniError;
use crate::error::io;

/// Writes `set` as `00000.tar` and on into `folder`, a shard for each of its runs of neighbours, and in it for each sample a PNG
/// and the first of its texts. Returns how many samples there are.
///
/// # Errors
/// [`MiniError::Sample`] where a sample cannot be read, [`MiniError::Io`] where the disk refuses.
pub fn write_shards(set: &dyn Dataset, folder: &Path) -> Result<u64, MiniError> {
    create_dir_all(folder).map_err(io("create", folder))?;
    let mut next = 0;
    for (number, size) in set.runs().into_iter().enumerate() {
        let path = folder.join(format!("{number:05}.tar"));
        let mut shard = Builder::new(File::create(&path).map_err(io("write", &path))?);
        for index in next..next + size {
            let sample = set.read(index)?;
            let mut png = Vec::new();
            let picture = sample.picture.decode(&sample.key)?;
            let encoded = picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
            encoded.map_err(|error| io("write", &path)(std::io::Error::other(error)))?;
            let text = sample.texts.first().map_or("", String::as_str);
            for (suffix, bytes) in [("png", &png[..]), ("txt", text.as_bytes())] {
                let mut header = Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                let name = format!("{}.{suffix}", sample.key);
                let appended = shard.append_data(&mut header, name, bytes);
                appended.map_err(io("write", &path))?;
            }
        }
        shard.finish().map_err(io("write", &path))?;
        next += size;
    }
    Ok(next)
}
