//! `blip2 convert`

use std::path::PathBuf;

use anyhow::Result;
use blip2::{
    Conversion, convert_to_hugging_face, convert_to_lavis, home, locate, model_folder,
    trained_to_hugging_face, trained_to_lavis,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::model::named;
use crate::{output, wrong_usage};

const EXAMPLES: &str = "\
Examples:
  blip2 convert Salesforce/blip2-opt-2.7b opt.pth --to lavis
                       all weights of a Hugging Face folder under LAVIS's names, as torch.save writes them
  blip2 convert checkpoint_best.pth tuned --to hf --like Salesforce/blip2-opt-2.7b
                       what LAVIS trained, as a folder that `transformers` loads: configuration, tokenizer and what was
                       frozen (LAVIS saves only what it trained) come from the model that it began with
  blip2 convert runs/captioning tuned --to hf --like Salesforce/blip2-opt-2.7b
                       what was trained here, as a folder that `transformers` loads; where the Q-Former reads texts (VQA,
                       instructions), as an InstructBLIP
  blip2 convert runs/captioning tuned.pth --to lavis
                       the same as LAVIS saves it: the trained tensors

OUT is new. For hf it is a folder. For lavis it is a file where its name ends in .pth or .safetensors, else a folder with a
model.pth beside configuration and tokenizer, which finds its way back without --like.
Weights stream from file to file. What the new form has no place for is listed, with the reason; with --json, in one object.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Convert {
    /// For hf: a checkpoint of LAVIS (.pth or safetensors), or a folder with one. For lavis: a Hugging Face folder, or a name in
    /// its cache. For both: a run or model folder of ours
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File or folder to write
    out: PathBuf,
    /// Which form to write
    #[arg(long, value_enum)]
    to: Form,
    /// For hf: a Hugging Face folder of the same architecture, or a name in its cache; else the folder that IN stands in
    #[arg(long, value_name = "DIR")]
    like: Option<PathBuf>,
    /// For hf, where IN is a checkpoint of LAVIS whose Q-Former reads texts in front of a language model, and DIR is no InstructBLIP:
    /// the `vocab.txt` or `tokenizer.json` of BERT that it reads by
    #[arg(long, value_name = "FILE", requires = "like")]
    vocabulary: Option<PathBuf>,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Hugging Face's `transformers`
    Hf,
    /// LAVIS, BLIP-2's original code
    Lavis,
}

#[derive(Serialize)]
struct Record<'a> {
    out: String,
    #[serde(flatten)]
    conversion: &'a Conversion,
}

impl Convert {
    pub(crate) fn run(self) -> Result<()> {
        let like = self.like.as_deref().map(|like| locate(like, None)).transpose()?;
        let trained = model_folder(&self.input).is_ok();
        let conversion = match self.to {
            _ if self.vocabulary.is_some() && (trained || self.to == Form::Lavis) => wrong_usage(
                "convert",
                "--vocabulary goes with a checkpoint of LAVIS and --to hf: others say which vocabulary is theirs",
            ),
            Form::Hf if trained => match &like {
                Some(like) => trained_to_hugging_face(&self.input, &home()?, like, &self.out)?,
                None => wrong_usage(
                    "convert",
                    "what was trained here needs --like with --to hf: the Hugging Face folder that the frozen models come from",
                ),
            },
            Form::Hf => {
                let input = locate(&self.input, None)?;
                convert_to_hugging_face(&input, like.as_deref(), self.vocabulary.as_deref(), &self.out)?
            }
            Form::Lavis if like.is_some() => wrong_usage(
                "convert",
                "--like goes with --to hf: a Hugging Face folder holds all that a LAVIS checkpoint needs",
            ),
            Form::Lavis if trained => trained_to_lavis(&self.input, &home()?, &self.out)?,
            Form::Lavis => convert_to_lavis(&locate(&self.input, None)?, &self.out)?,
        };
        self.tell(&conversion)
    }

    fn tell(&self, conversion: &Conversion) -> Result<()> {
        let out = named(&self.out);
        if self.json {
            return output::json(&Record { out, conversion });
        }
        for tensor in &conversion.dropped {
            output::line(format_args!("dropped  {}: {}", tensor.name, tensor.reason))?;
        }
        for name in &conversion.absent {
            output::line(format_args!(
                "absent   {name}: LAVIS has a place for it, this model no values"
            ))?;
        }
        let Conversion { written, frozen, .. } = conversion;
        let origin = match (frozen, &self.like) {
            (0, _) | (_, None) => String::new(),
            (_, Some(like)) => format!(", {frozen} of them from {}", named(like)),
        };
        let (dropped, absent) = (conversion.dropped.len(), conversion.absent.len());
        output::line(format_args!(
            "{written} tensors written to {out}{origin}; {dropped} dropped, {absent} absent"
        ))
    }
}
