//! `blip2 chat`

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use blip2::{Blip2, Chat as Conversation, GenerationConfig, Template, Turn, Written};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::generation::GenerationArguments;
use crate::model::{ModelArguments, named};
use crate::output;
use crate::pictures::PictureArguments;

const EXAMPLES: &str = "\
Examples:
  blip2 chat --model Salesforce/blip2-opt-2.7b picture.jpg
  printf 'what is on the left?\\nand above it?\\n' | blip2 chat --model runs/demo picture.png

Each line is a question, answered word by word; what was said before is read again each time. With --json, one object an
answer: image, question, text, ids, score. Lines that begin with a stroke are for the program:
";

const COMMANDS: &str = "\
  /image FILE   talk about another picture, from the beginning
  /reset        forget what was said
  /save FILE    write what was said as JSON
  /help         this list
  /quit         end, as the end of the input does";

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
struct Record<'a> {
    image: Option<String>,
    question: &'a str,
    #[serde(flatten)]
    written: Written,
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
    arguments: &'a Chat,
}

impl Chat {
    pub(crate) fn run(self) -> Result<()> {
        self.generation.check("chat", 1);
        let model = self.model.load()?;
        let template = self
            .template
            .map_or_else(|| model.chat_template(), TemplateChoice::template);
        let mut talk = Talk {
            conversation: model.chat(template),
            image: None,
            settings: self.generation.settings(&model.chat_settings(), Some(1)),
            arguments: &self,
        };
        if let Some(image) = &self.image {
            talk.look_at(image)?;
        }
        let person = io::stdin().is_terminal() && io::stdout().is_terminal();
        if person {
            output::line(COMMANDS)?;
        }
        let (mut line, mut failed) = (String::new(), 0);
        loop {
            if person {
                say("> ")?;
            }
            line.clear();
            if io::stdin()
                .lock()
                .read_line(&mut line)
                .context("cannot read the next line")?
                == 0
            {
                break;
            }
            match talk.hear(line.trim()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if output::is_closed_pipe(&error) => return Err(error),
                Err(error) => {
                    failed += 1;
                    output::report(&error);
                }
            }
        }
        ensure!(
            person || failed == 0,
            "{failed} of the lines could not be answered: see above"
        );
        Ok(())
    }
}

impl Talk<'_> {
    /// Does what a line says; whether others may follow.
    fn hear(&mut self, line: &str) -> Result<bool> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, rest.trim()) {
            ("", _) => {}
            ("/quit", "") => return Ok(false),
            ("/help", "") => output::line(COMMANDS)?,
            ("/reset", "") => self.conversation.begin(None)?,
            ("/image", file) if !file.is_empty() => self.look_at(Path::new(file))?,
            ("/save", file) if !file.is_empty() => self.save(Path::new(file))?,
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
        let json = self.arguments.json;
        // What cannot be said any more is told at the end of the line.
        let mut hear = |piece: &str| {
            if !json {
                let _ = say(piece);
            }
        };
        let written = self.conversation.ask(question, &self.settings, &mut hear)?;
        if !json {
            return output::line("");
        }
        output::json(&Record {
            image: self.image.as_deref().map(named),
            question,
            written,
        })
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

/// Writes `piece` to stdout at once.
fn say(piece: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(piece.as_bytes())?;
    Ok(stdout.flush()?)
}
