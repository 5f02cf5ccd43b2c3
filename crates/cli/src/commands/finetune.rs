//! `blip2 finetune`

use anyhow::Result;
use blip2_trainer::{Recipe, RecipeFile};
use clap::Args;

use super::pretrain::Pretrain;
use crate::wrong_usage;

const EXAMPLES: &str = "\
Examples:
  blip2 finetune --recipe recipes/paper/finetune/caption-vit-g-opt-2.7b.toml --run runs/captioning
  blip2 finetune --recipe recipes/paper/finetune/retrieval-vit-g.toml --run runs/retrieval --set stage1.parts=32
  blip2 finetune --recipe my.toml --run runs/my --set 'lora={ rank = 16, alpha = 32.0 }'
  blip2 finetune --recipe my.toml --run runs/my --resume                   after an interruption

A recipe of fine-tuning says in its stage where it starts (`from`). The run folder holds the resolved recipe, metrics.jsonl,
checkpoints and the model, with the encoder where it was trained; blip2 convert makes a folder for transformers of it, or what LAVIS
saves.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Finetune {
    #[command(flatten)]
    training: Pretrain,
}

impl Finetune {
    pub(crate) fn run(self) -> Result<()> {
        let recipe = Recipe::read(&self.training.recipe, &self.training.set)?;
        if !recipe.starts_trained() {
            wrong_usage(
                "finetune",
                "the recipe begins with an untrained bridge: say where to start by `from` in its stage, or use blip2 pretrain",
            );
        }
        self.training.run()
    }
}
