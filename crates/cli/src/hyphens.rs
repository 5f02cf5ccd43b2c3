//! Texts that begin with a hyphen, on a command line whose options do as well.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// The options that take texts.
const TEXTS: [&str; 2] = ["prompt", "text"];

/// `arguments` with each value of an option of [`TEXTS`] tied to it, `--text=VALUE`, as `clap` takes it whatever it begins
/// with. What is spelled exactly as an option of the command remains one: where `clap` allows hyphens in a list of values, that
/// would become a text, too.
pub(crate) fn tied(program: &mut Command, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    program.build();
    let mut arguments = arguments.into_iter();
    let mut tied = Vec::new();
    let command = arguments.by_ref().find_map(|argument| {
        let command = program.find_subcommand(&argument);
        tied.push(argument);
        command
    });
    let Some(command) = command else { return tied };
    let mut texts: Option<Texts> = None;
    for argument in arguments.by_ref() {
        let escape = argument == "--";
        if escape || is_option(command, &argument) {
            tied.extend(texts.take().and_then(Texts::without_value));
            texts = Texts::of(command, &argument);
            tied.extend(texts.is_none().then_some(argument));
            if escape {
                break;
            }
        } else if let Some(mut open) = texts.take() {
            tied.push(open.tie(&argument));
            texts = open.many.then_some(open);
        } else {
            tied.push(argument);
        }
    }
    tied.extend(texts.and_then(Texts::without_value));
    tied.extend(arguments);
    tied
}

/// An option for texts, whose values follow.
struct Texts {
    option: OsString,
    many: bool,
    tied: bool,
}

impl Texts {
    /// The option that `argument` is, where it takes texts and none is tied to it yet.
    fn of(command: &Command, argument: &OsStr) -> Option<Self> {
        let name = argument.to_str()?.strip_prefix("--")?;
        let option = command.get_arguments().find(|option| goes_by(option, name))?;
        TEXTS.contains(&name).then(|| Self {
            option: argument.to_owned(),
            many: option.get_num_args().is_some_and(|range| range.max_values() > 1),
            tied: false,
        })
    }

    fn tie(&mut self, value: &OsStr) -> OsString {
        self.tied = true;
        let mut tied = self.option.clone();
        tied.push("=");
        tied.push(value);
        tied
    }

    /// The option alone, for `clap` to complain of, where no value followed.
    fn without_value(self) -> Option<OsString> {
        (!self.tied).then_some(self.option)
    }
}

fn is_option(command: &Command, argument: &OsStr) -> bool {
    let Some(argument) = argument.to_str() else {
        return false;
    };
    if let Some(long) = argument.strip_prefix("--") {
        let name = long.split_once('=').map_or(long, |(name, _)| name);
        return command.get_arguments().any(|option| goes_by(option, name));
    }
    let known = |letter| {
        command
            .get_arguments()
            .any(|option| option.get_short() == Some(letter))
    };
    argument
        .strip_prefix('-')
        .is_some_and(|letters| !letters.is_empty() && letters.chars().all(known))
}

fn goes_by(option: &Arg, name: &str) -> bool {
    let aliases = option.get_all_aliases().unwrap_or_default();
    option.get_long() == Some(name) || aliases.contains(&name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Arguments;

    fn tied_line(line: &[&str]) -> Vec<String> {
        let line = line.iter().map(OsString::from);
        tied(&mut Arguments::command(), line)
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn texts_are_tied_up_to_the_next_option() {
        let line = [
            "blip2",
            "-v",
            "match",
            "--text",
            "-5 degrees",
            "two",
            "--- three",
            "-",
            "--json",
            "a.png",
        ];
        let expected = [
            "blip2",
            "-v",
            "match",
            "--text=-5 degrees",
            "--text=two",
            "--text=--- three",
            "--text=-",
            "--json",
            "a.png",
        ];
        assert_eq!(tied_line(&line), expected);
    }

    #[test]
    fn one_text_is_tied_where_one_is_taken() {
        let line = [
            "blip2",
            "caption",
            "--prompt",
            "- a list of",
            "a.png",
            "-v",
            "--prompt",
        ];
        let expected = [
            "blip2",
            "caption",
            "--prompt=- a list of",
            "a.png",
            "-v",
            "--prompt",
        ];
        assert_eq!(tied_line(&line), expected);
    }

    #[test]
    fn what_is_an_option_stays_one() {
        for line in [
            vec!["blip2", "match", "--text", "--json"],
            vec!["blip2", "match", "--text=-5", "--dtype=f32", "-vv"],
            vec!["blip2", "match", "a.png", "--", "--text", "-5"],
            vec!["blip2", "--version"],
        ] {
            assert_eq!(tied_line(&line), line);
        }
    }
}
