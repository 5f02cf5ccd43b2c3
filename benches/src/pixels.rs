//! A picture file to the tensor of a training view.

use anyhow::{Context, Result};
use blip2_data::Stream;
use blip2_data::pixels::{Augmentation, DecodeOptions, ImageProcessor, decode};

use crate::captions::home;
use crate::workload::Workload;

/// Side of the view.
const SIDE: u32 = 224;

pub(crate) fn open() -> Result<Workload> {
    let path = home()?.join("peer/picture.jpg");
    let content = std::fs::read(&path).with_context(|| {
        format!(
            "cannot read {}: make it with `cargo xtask bench --setup`",
            path.display()
        )
    })?;
    let processor = ImageProcessor::clip_square(SIDE);
    let augmentation = Augmentation::lavis();
    let mut stream = Stream::new(1, "views", 0);
    let run = move || {
        let picture = decode(&content, "the picture", DecodeOptions::as_stored())?;
        let view = augmentation.draw(picture.width(), picture.height(), &mut stream);
        std::hint::black_box(processor.normalise(&view.apply(&picture, SIDE, SIDE)?));
        Ok(())
    };
    Ok(Workload {
        phases: Vec::new(),
        run: Box::new(run),
    })
}
