//! Options that decide how text is written.

use blip2::{EarlyStopping, GenerationConfig, GenerationWishes};
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use crate::wrong_usage;

#[derive(Args)]
#[command(next_help_heading = "How to write")]
pub(crate) struct GenerationArguments {
    /// Beams of the search; 1 takes the likeliest token each time [default: the model's own, else 5, or 1 when sampling; at
    /// least as many as captions are asked for]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    num_beams: Option<usize>,
    /// When beam search is over, once it has as many texts as beams [default: the model's own, else false]
    #[arg(long, value_enum, value_name = "WHEN")]
    early_stopping: Option<Stopping>,
    /// Most new tokens [default: the model's own, else 30 for captions and 10 for answers]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    max_new_tokens: Option<usize>,
    /// No end before this many new tokens [default: 1; 0 with a Hugging Face folder]
    #[arg(long, value_name = "N", value_parser = at_least(0))]
    min_length: Option<usize>,
    /// Above 0 favours long beams, below 0 short ones [default: 1 for captions, -1 for answers]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    length_penalty: Option<f64>,
    /// Divides the score of tokens that were written before [default: 1]
    #[arg(long, value_name = "X", value_parser = positive)]
    repetition_penalty: Option<f32>,
    /// No run of this many tokens twice [default: 0, which allows it]
    #[arg(long, value_name = "N", value_parser = at_least(0))]
    no_repeat_ngram_size: Option<usize>,
    /// Draw tokens by their probability; with beams, draw the continuations that compete [default: the model's own, else where
    /// --top-p, --top-k or --temperature is given]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sample: Option<bool>,
    /// Sample among the likeliest tokens that together have this probability
    #[arg(long, value_name = "X", value_parser = probability)]
    top_p: Option<f32>,
    /// Sample among this many likeliest tokens; 0 for all [default when sampling: 50]
    #[arg(long, value_name = "N", value_parser = at_least(0))]
    top_k: Option<usize>,
    /// Sample, with the logits divided by this [default when sampling: 1]
    #[arg(long, value_name = "X", value_parser = positive)]
    temperature: Option<f32>,
    /// Decides what sampling draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// `early_stopping` of `transformers`.
#[derive(Clone, Copy, ValueEnum)]
enum Stopping {
    /// Once no running beam, scored at its present length, is better than the worst text
    False,
    /// At once
    True,
    /// Once no running beam can become better
    Never,
}

impl From<Stopping> for EarlyStopping {
    fn from(stopping: Stopping) -> Self {
        match stopping {
            Stopping::False => Self::Estimated,
            Stopping::True => Self::WhenFull,
            Stopping::Never => Self::Never,
        }
    }
}

impl GenerationArguments {
    /// Ends the program as `command` wrongly used, where options contradict each other or the number of `texts` that are
    /// asked for.
    pub(crate) fn check(&self, command: &str, texts: usize) {
        let wishes = self.wishes(Some(texts));
        if self.sample == Some(false) && wishes.narrows() {
            wrong_usage(
                command,
                "--top-p, --top-k and --temperature sample: leave out --sample=false",
            );
        }
        match self.num_beams {
            Some(1) if texts > 1 && !wishes.samples() => wrong_usage(
                command,
                "one beam writes one text: for --num-captions give more --num-beams, or --sample",
            ),
            Some(beams) if beams > 1 && texts > beams => wrong_usage(
                command,
                "--num-captions is above --num-beams: there are only as many texts as beams",
            ),
            _ => {}
        }
    }

    /// What decides draws.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// What is asked for; `texts` is how many.
    fn wishes(&self, texts: Option<usize>) -> GenerationWishes {
        GenerationWishes {
            max_new_tokens: self.max_new_tokens,
            min_new_tokens: self.min_length,
            num_beams: self.num_beams,
            early_stopping: self.early_stopping.map(EarlyStopping::from),
            num_return_sequences: texts,
            length_penalty: self.length_penalty,
            repetition_penalty: self.repetition_penalty,
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            sample: self.sample,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: Some(self.seed),
        }
    }

    /// `base` where an option is not given, for `texts` texts. A number of beams alone asks for no samples.
    pub(crate) fn settings(&self, base: &GenerationConfig, texts: Option<usize>) -> GenerationConfig {
        self.wishes(texts).meant(base)
    }
}

pub(crate) fn at_least(least: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=GenerationWishes::MOST as u64)
}

fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err("not a finite number".to_owned())
    }
}

fn positive(text: &str) -> Result<f32, String> {
    let number = finite(text)? as f32;
    if number > 0.0 && number.is_finite() {
        Ok(number)
    } else {
        Err("must be above 0".to_owned())
    }
}

pub(crate) fn probability(text: &str) -> Result<f32, String> {
    let number = positive(text)?;
    if number <= 1.0 {
        Ok(number)
    } else {
        Err("must lie above 0 and at most at 1".to_owned())
    }
}
