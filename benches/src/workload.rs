//! What can be asked for, and what it is once it is open.

use anyhow::Result;
use blip2_kernels::{Products, with_products};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{
    caption_folder, decode, encode, generate, loader, ops, pixels, qformer, retrieval, serve, stage1, stage2,
};

/// A kind of work and its sizes.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Work {
    /// One operation.
    Op(ops::Op),
    /// A training step of the Q-Former on stored features.
    Stage1(stage1::Stage1),
    /// A training step of the bridge in front of a frozen language model.
    Stage2(stage2::Stage2),
    /// One pass of the Q-Former over images and texts.
    Qformer(qformer::Pass),
    /// Contrast of a gallery and matching of its best.
    Retrieval(retrieval::Retrieval),
    /// A frozen image encoder.
    Encode(encode::Encode),
    /// A caption of one picture.
    Generate(generate::Generate),
    /// Captions of a folder of pictures.
    CaptionFolder(caption_folder::CaptionFolder),
    /// Clients of a server.
    Serve(serve::Serve),
    /// What a language model writes behind a soft prompt.
    Decode(decode::Decode),
    /// The model of captions, from the start of the process to its first token.
    Load(generate::Load),
    /// A picture file to a training view; `tensors` is the peer's choice of its own path.
    Pixels {},
    /// Shards to batches of training views.
    Loader(loader::Loader),
}

impl Work {
    /// Builds it on `device`, a plain one.
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        match self {
            Self::Op(op) => Ok(op.open(device)),
            Self::Stage1(stage1) => stage1.open(device),
            Self::Stage2(stage2) => stage2.open(device),
            Self::Qformer(pass) => pass.open(device),
            Self::Retrieval(retrieval) => retrieval.open(device),
            Self::Encode(encode) => encode.open(device),
            Self::Generate(generate) => generate.open(device),
            Self::CaptionFolder(folder) => folder.open(device),
            Self::Serve(serve) => serve.open(device),
            Self::Decode(decode) => decode.open(device),
            Self::Load(load) => load.open(device),
            Self::Pixels {} => pixels::open(),
            Self::Loader(loader) => loader.open(),
        }
    }
}

/// Work that is ready to run over and over.
pub(crate) struct Workload {
    /// What it needs at least, one phase after the other, where it is counted.
    pub(crate) phases: Vec<Phase>,
    pub(crate) run: Box<dyn FnMut() -> Result<()>>,
}

/// What a part of the work needs at least: both can be done at the same time.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Phase {
    /// Operations of matrix products, by the type of what is multiplied.
    pub(crate) f32_operations: f64,
    pub(crate) bf16_operations: f64,
    /// Bytes read and written if nothing is touched twice.
    pub(crate) bytes: f64,
}

impl Phase {
    pub(crate) fn bytes(bytes: f64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}

/// In which type the matrix products of training are taken.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Operands rounded to bf16, sums in single precision.
    Bf16,
}

impl Precision {
    /// This many operations of matrix products.
    pub(crate) fn products(self, operations: f64) -> Phase {
        match self {
            Self::F32 => Phase {
                f32_operations: operations,
                ..Phase::default()
            },
            Self::Bf16 => Phase {
                bf16_operations: operations,
                ..Phase::default()
            },
        }
    }

    /// Runs `compute` with its matrix products in this precision.
    pub(crate) fn scope<T>(self, compute: impl FnOnce() -> T) -> T {
        let products = match self {
            Self::F32 => Products::F32,
            Self::Bf16 => Products::Bf16,
        };
        with_products(products, compute)
    }
}
