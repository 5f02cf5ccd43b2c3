//! The number format of the frozen models, as people ask for it.

use std::path::Path;

use blip2_core::layers::Packing;
use burn::tensor::Device;

use crate::{Blip2Error, StoredWeights};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberFormat {
    /// As the weights are stored: bfloat16 for a file of half precision, else single precision; that, too, on a GPU.
    #[default]
    Stored,
    /// Single precision.
    F32,
    /// Linear layers packed, products in bfloat16.
    Packed(Packing),
}

/// How linear layers are packed.
pub struct PackingChoice {
    /// `None` is single precision.
    pub packing: Option<Packing>,
    /// What decided, where nothing was asked for.
    pub stored: Option<StoredWeights>,
}

impl NumberFormat {
    /// What that means for the model in `folder`, whose frozen models lie in `home`, on `device`.
    ///
    /// # Errors
    /// As for [`StoredWeights::of`].
    pub fn choose(self, folder: &Path, home: &Path, device: &Device) -> Result<PackingChoice, Blip2Error> {
        let asked = |packing| PackingChoice {
            packing,
            stored: None,
        };
        Ok(match self {
            Self::F32 => asked(None),
            Self::Packed(packing) => asked(Some(packing)),
            Self::Stored => {
                let stored = StoredWeights::of(folder, home)?;
                PackingChoice {
                    // Elsewhere packed weights are unpacked at every use.
                    packing: stored.packing().filter(|_| *device == Device::flex()),
                    stored: Some(stored),
                }
            }
        })
    }
}
