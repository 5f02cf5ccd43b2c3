//! `blip2 completions`

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Arguments, output};

const EXAMPLES: &str = "\
Examples:
  blip2 completions bash > ~/.local/share/bash-completion/completions/blip2
  blip2 completions zsh > ~/.zfunc/_blip2
  blip2 completions fish > ~/.config/fish/completions/blip2.fish";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "blip2", &mut script);
        output::line(String::from_utf8(script)?.trim_end())
    }
}
