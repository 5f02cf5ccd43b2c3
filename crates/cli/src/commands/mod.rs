//! One module a subcommand.

mod ask;
mod attend;
mod capfilt;
mod caption;
mod caption_scores;
mod chat;
mod completions;
mod convert;
mod data;
mod data_set;
mod doctor;
mod embed;
mod evaluate;
mod finetune;
mod inspect;
mod matching;
mod pretrain;
mod pull;
mod score;
mod serve;
mod trace;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Describe pictures
    Caption(caption::Caption),
    /// Write captions for a data set and keep, of these and its own, those that fit best
    Capfilt(capfilt::Capfilt),
    /// Answer a question about a picture
    Ask(ask::Ask),
    /// Let others ask: over HTTP, and on a web page
    Serve(serve::Serve),
    /// Talk about a picture
    Chat(chat::Chat),
    /// Tell how well texts belong to a picture
    Match(matching::Matching),
    /// Draw where the queries look in a picture, and for which words of a text
    Attend(attend::Attend),
    /// Write what the Q-Former makes of pictures and texts to a file
    Embed(embed::Embed),
    /// Write what flows through the model, stage by stage, to a file
    Trace(trace::Trace),
    /// List the tensors of a model
    Inspect(inspect::Inspect),
    /// Convert between LAVIS checkpoints and Hugging Face folders
    Convert(convert::Convert),
    /// Fetch a model from the hub into the Hugging Face cache
    Pull(pull::Pull),
    /// Look through data sets: formats, counts, what is wrong with them
    Data(data::Data),
    /// Measure captions or answers against what people wrote
    Score(score::Score),
    /// Let a model answer, caption or retrieve on a whole data set, and measure how well it does
    Evaluate(evaluate::Evaluate),
    /// Check that everything is in place
    Doctor(doctor::Doctor),
    /// Train a bridge through both stages by a recipe
    Pretrain(pretrain::Pretrain),
    /// Train a model further for a task by a recipe: captioning, questions, retrieval, instructions
    Finetune(finetune::Finetune),
    /// Print the completions of a shell
    Completions(completions::Completions),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Caption(command) => command.run(),
            Self::Capfilt(command) => command.run(),
            Self::Ask(command) => command.run(),
            Self::Serve(command) => command.run(),
            Self::Chat(command) => command.run(),
            Self::Match(command) => command.run(),
            Self::Attend(command) => command.run(),
            Self::Embed(command) => command.run(),
            Self::Trace(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::Convert(command) => command.run(),
            Self::Pull(command) => command.run(),
            Self::Data(command) => command.run(),
            Self::Score(command) => command.run(),
            Self::Evaluate(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::Pretrain(command) => command.run(),
            Self::Finetune(command) => command.run(),
            Self::Completions(command) => command.run(),
        }
    }
}
