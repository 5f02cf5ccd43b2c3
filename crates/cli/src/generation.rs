//! Options that decide how text is written.

use blip2::GenerationConfig;
use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::wrong_usage;

#[derive(Args)]
#[command(next_help_heading = "How to write")]
pub(crate) struct GenerationArguments {
    /// Beams of the search; 1 takes the likeliest token each time [default: the model's own, else 5, or 1 when sampling]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    num_beams: Option<usize>,
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

impl GenerationArguments {
    /// Ends the program as `command` wrongly used, where options contradict each other.
    pub(crate) fn check(&self, command: &str) {
        if self.samples() && self.num_beams.is_some_and(|beams| beams > 1) {
            wrong_usage(
                command,
                "--top-p, --top-k and --temperature sample, which needs --num-beams 1",
            );
        }
    }

    fn samples(&self) -> bool {
        self.top_p.is_some() || self.top_k.is_some() || self.temperature.is_some()
    }

    /// `base` where an option is not given. A number of beams asks for no samples.
    pub(crate) fn settings(&self, base: &GenerationConfig) -> GenerationConfig {
        let sample = self.samples() || (base.sample && self.num_beams.is_none());
        GenerationConfig {
            max_new_tokens: self.max_new_tokens.unwrap_or(base.max_new_tokens),
            min_new_tokens: self.min_length.unwrap_or(base.min_new_tokens),
            num_beams: self.num_beams.unwrap_or(if sample { 1 } else { base.num_beams }),
            length_penalty: self.length_penalty.unwrap_or(base.length_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            no_repeat_ngram_size: self.no_repeat_ngram_size.unwrap_or(base.no_repeat_ngram_size),
            sample,
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            seed: self.seed,
            end_tokens: base.end_tokens.clone(),
        }
    }
}

/// More of anything than a text has; keeps a slip of the finger from asking for all memory.
const MOST: u64 = 1 << 16;

pub(crate) fn at_least(least: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=MOST)
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

fn probability(text: &str) -> Result<f32, String> {
    let number = positive(text)?;
    if number <= 1.0 {
        Ok(number)
    } else {
        Err("must lie above 0 and at most at 1".to_owned())
    }
}
