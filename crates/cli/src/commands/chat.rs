//! `blip2 chat`

use std::env;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use blip2::{
    Blip2, Chat as Conversation, Finding, GenerationConfig, Guarded, Reading, StopFlag, Template, Turn,
    Written,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::generation::GenerationArguments;
use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::safety::{Place, Safety, SafetyArguments};
use crate::{output, safety};

const EXAMPLES: &str = "\
Examples:
  blip2 chat --model Salesforce/blip2-opt-2.7b picture.jpg
  printf 'what is on the left?\\nand above it?\\n' | blip2 chat --model runs/demo picture.png

Each line is a question, answered word by word. A decoder reads of a talk that goes on what is new alone (-v tells how much); an
encoder-decoder model, and InstructBLIP, read all of it again each time. With --json, one object an
answer: image, question, text, ids, score; or, of a question that failed, image, question, error. What --safety keeps back leaves no
trace in the talk; its object has filtered with the category, in place of the text or beside the error of a question. Lines that begin with a
stroke are for the program:
";

const COMMANDS: &str = "\
  /image FILE   talk about another picture, from the beginning
  /reset        forget what was said
  /save FILE    write what was said as JSON
  /help         this list
  /quit         end, as the end of the input does

A FILE that begins with ~/ lies in the home folder.";

#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{COMMANDS}"))]
pub(crate) struct Chat {
    #[command(flatten)]
    model: ModelArguments,
    /// A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF)
    #[arg(value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// How questions and answers are put to the language model [default: as the model was trained]
    #[arg(long, value_enum)]
    template: Option<TemplateChoice>,
    /// Write a JSON object for each answer
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: PictureArguments,
    #[command(flatten)]
    generation: GenerationArguments,
    #[command(flatten)]
    safety: SafetyArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum TemplateChoice {
    /// "Question: ... Answer: ...", as in the paper
    Dialogue,
    /// The question alone, those before it as a dialogue: InstructBLIP
    Instruction,
    /// "<|im_start|>user ...": Qwen and SmolLM2
    Qwen,
    /// "<start_of_turn>user ...": Gemma
    Gemma,
}

impl TemplateChoice {
    fn template(self) -> Template {
        let name = self.to_possible_value().expect("no template is hidden");
        let template = name.get_name().parse();
        template.expect("the choices are named as the templates are")
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Record<'a> {
    Answer {
        image: Option<String>,
        question: &'a str,
        #[serde(flatten)]
        written: Written,
    },
    Withheld {
        image: Option<String>,
        question: &'a str,
        filtered: Finding,
    },
    Failure {
        image: Option<String>,
        question: &'a str,
        error: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        filtered: Option<Finding>,
    },
}

/// What `/save` writes.
#[derive(Serialize)]
struct Saved<'a> {
    model: String,
    image: Option<String>,
    turns: &'a [Turn],
}

/// A conversation, and all that its lines need.
struct Talk<'a> {
    conversation: Conversation<&'a Blip2>,
    image: Option<PathBuf>,
    settings: GenerationConfig,
    safety: Safety,
    arguments: &'a Chat,
}

impl Chat {
    pub(crate) fn run(self) -> Result<()> {
        self.generation.check("chat", 1);
        let safety = self.safety.open()?;
        let model = self.model.load()?;
        let template = self
            .template
            .map_or_else(|| model.chat_template(), TemplateChoice::template);
        let mut talk = Talk {
            conversation: model.chat(template),
            image: None,
            settings: self.generation.settings(&model.chat_settings(), Some(1)),
            safety,
            arguments: &self,
        };
        if let Some(image) = &self.image {
            talk.look_at(image)?;
        }
        let person = io::stdin().is_terminal() && io::stdout().is_terminal();
        if person {
            output::line(COMMANDS)?;
        }
        let mut failed = 0;
        loop {
            if person {
                say("> ")?;
            }
            let Some(line) = next_line(&mut io::stdin().lock()).context("cannot read the next line")? else {
                break;
            };
            match talk.hear_bytes(&line) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if output::is_closed_pipe(&error) => return Err(error),
                Err(error) => {
                    failed += 1;
                    output::report(&error);
                }
            }
        }
        talk.safety.report();
        ensure!(
            person || failed == 0,
            "{failed} of the lines could not be answered: see above"
        );
        Ok(())
    }
}

impl Talk<'_> {
    /// Does what a line says that may be no text; whether others may follow.
    fn hear_bytes(&mut self, line: &[u8]) -> Result<bool> {
        match str::from_utf8(line) {
            Ok(text) => self.hear(text.trim()),
            Err(_) => {
                let text = String::from_utf8_lossy(line);
                let text = text.trim();
                Err(self.failure(text, anyhow!("this line is not in UTF-8: `{text}`"), None))
            }
        }
    }

    /// Does what a line says; whether others may follow.
    fn hear(&mut self, line: &str) -> Result<bool> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, rest.trim()) {
            ("", _) => {}
            ("/quit", "") => return Ok(false),
            ("/help", "") => output::line(COMMANDS)?,
            ("/reset", "") => self.conversation.begin(None)?,
            ("/image", file) if !file.is_empty() => self.look_at(&beneath_home(file, home().as_deref()))?,
            ("/save", file) if !file.is_empty() => self.save(&beneath_home(file, home().as_deref()))?,
            _ if command.starts_with('/') => {
                bail!("there is no command `{line}`; /help lists those that there are")
            }
            _ => self.answer(line)?,
        }
        Ok(true)
    }

    fn look_at(&mut self, file: &Path) -> Result<()> {
        let picture = self.arguments.reading.open(file)?;
        self.conversation.begin(Some(&picture))?;
        self.image = Some(file.to_owned());
        Ok(())
    }

    fn answer(&mut self, question: &str) -> Result<()> {
        if let Some(filtered) = self.safety.find(Place::Prompt, question) {
            return Err(self.failure(question, safety::refused(&filtered), Some(filtered)));
        }
        let json = self.arguments.json;
        // What cannot be said any more is told at the end of the line.
        let say_piece = |piece: &str| {
            if !json {
                let _ = say(piece);
            }
        };
        // One of its own: a flag that is raised stays so.
        let stop = StopFlag::default();
        let settings = GenerationConfig {
            stop: stop.clone(),
            ..self.settings.clone()
        };
        let mut guarded = self.safety.filter().map(Guarded::new);
        let mut hear = |piece: &str| match &mut guarded {
            None => say_piece(piece),
            Some(guarded) => {
                say_piece(guarded.push(piece));
                if guarded.finding().is_some() {
                    stop.raise();
                }
            }
        };
        let answer = self.conversation.ask(question, &settings, &mut hear);
        let found = guarded.and_then(|mut guarded| {
            if answer.is_ok() {
                say_piece(guarded.finish());
            }
            guarded.finding().cloned()
        });
        if let Some(filtered) = found {
            return self.withhold(question, filtered, answer.is_ok());
        }
        let written = match answer {
            Ok(written) => written,
            Err(error) => return Err(self.failure(question, error.into(), None)),
        };
        let Reading { places, known, .. } = self.conversation.reading();
        tracing::info!("{} of {places} places of the talk were read anew", places - known);
        if !json {
            return output::line("");
        }
        output::json(&Record::Answer {
            image: self.image.as_deref().map(named),
            question,
            written,
        })
    }

    /// Tells that an answer is kept back from where it says what it must not. Where it was `kept` in the talk, it is taken back.
    fn withhold(&mut self, question: &str, filtered: Finding, kept: bool) -> Result<()> {
        if kept {
            self.conversation.take_back();
        }
        self.safety.count(Place::Text, &filtered);
        safety::withheld(question, &filtered);
        if !self.arguments.json {
            return output::line("");
        }
        output::json(&Record::Withheld {
            image: self.image.as_deref().map(named),
            question,
            filtered,
        })
    }

    /// `error`, once those who read objects have one of it; what keeps them from it comes first.
    fn failure(&self, question: &str, error: Error, filtered: Option<Finding>) -> Error {
        if !self.arguments.json {
            return error;
        }
        let told = output::json(&Record::Failure {
            image: self.image.as_deref().map(named),
            question,
            error: output::chain(error.as_ref()),
            filtered,
        });
        told.err().unwrap_or(error)
    }

    fn save(&self, file: &Path) -> Result<()> {
        let saved = Saved {
            model: self.arguments.model.name(),
            image: self.image.as_deref().map(named),
            turns: self.conversation.turns(),
        };
        let text = serde_json::to_string_pretty(&saved)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", named(file)))
    }
}

/// The next line, with what ends it; none at the end. It may be no text, which is no reason to stop reading.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

/// `$HOME`, else what the system says.
fn home() -> Option<PathBuf> {
    let variable = env::var_os("HOME").filter(|home| !home.is_empty());
    variable.map(PathBuf::from).or_else(env::home_dir)
}

/// The path that `file` means to a person: no shell has seen it, so a leading `~/` still stands for `home`.
fn beneath_home(file: &str, home: Option<&Path>) -> PathBuf {
    match (file.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(file),
    }
}

/// Writes `piece` to stdout at once.
fn say(piece: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(piece.as_bytes())?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_text_is_one_line() {
        let mut input: &[u8] = b"one\n\xff\xfe?\n\nlast";
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"one\n"[..], b"\xff\xfe?\n", b"\n", b"last"]);
    }

    #[test]
    fn files_beneath_the_home_folder_are_found() {
        let meant = |file| beneath_home(file, Some(Path::new("/ada")));
        assert_eq!(meant("~/a b.png"), Path::new("/ada/a b.png"));
        for file in ["a.png", "/x/~/a.png", "~eve/a.png", "~"] {
            assert_eq!(meant(file), Path::new(file));
        }
        assert_eq!(beneath_home("~/a.png", None), Path::new("~/a.png"));
    }

    #[test]
    fn objects_of_questions_that_failed_have_an_error() {
        let record = Record::Failure {
            image: None,
            question: "what?",
            error: "no picture".to_owned(),
            filtered: None,
        };
        let expected = serde_json::json!({"image": null, "question": "what?", "error": "no picture"});
        assert_eq!(serde_json::to_value(record).unwrap(), expected);
    }
}
