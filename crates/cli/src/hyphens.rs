//! Texts that begin with a hyphen, on a command line whose options do as well.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Arg, Command};

/// The options that take texts.
const TEXTS: [&str; 2] = ["prompt", "text"];

/// `arguments` as `clap` takes them whatever a text begins with: each value of an option of [`TEXTS`] is tied to it,
/// `--text=VALUE`, and a question that stands in front of its picture goes behind it. What is spelled exactly as an option of the
/// command remains one: where `clap` allows hyphens in a list of values, that would become a text, too.
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
    let asks = command.get_positionals().any(Arg::is_allow_hyphen_values_set);
    let mut texts: Option<Texts> = None;
    let (mut value_follows, mut questions, mut others) = (false, Vec::new(), 0);
    // Where the last of several texts is a file: it may be the picture.
    let mut swallowed = None;
    for argument in arguments.by_ref() {
        let wanted = texts.as_ref().is_some_and(|texts| texts.tied == 0);
        let escape = argument == "--" && !wanted;
        if escape || is_option(command, &argument) {
            tied.extend(texts.take().and_then(Texts::without_value));
            texts = Texts::of(command, &argument);
            value_follows = texts.is_none() && takes_value(command, &argument);
            tied.extend(texts.is_none().then_some(argument));
            if escape {
                break;
            }
        } else if let Some(mut open) = texts.take() {
            let text = open.tie(&argument);
            if open.tied > 1 {
                let file = Path::new(&argument).is_file();
                swallowed = file.then_some((tied.len(), argument));
            }
            tied.push(text);
            texts = open.many.then_some(open);
        } else if std::mem::take(&mut value_follows) {
            tied.push(argument);
        } else if asks && is_text(&argument) {
            questions.push(argument);
        } else {
            others += 1;
            tied.push(argument);
        }
    }
    tied.extend(texts.and_then(Texts::without_value));
    let before = tied.len();
    tied.extend(arguments);
    tied.append(&mut questions);
    others += tied.len() - before;
    let required = command.get_positionals().filter(|one| one.is_required_set());
    if others < required.count()
        && let Some((place, picture)) = swallowed
    {
        tied[place] = picture;
    }
    tied
}

/// An option for texts, whose values follow.
struct Texts {
    option: OsString,
    many: bool,
    /// How many are tied to it.
    tied: usize,
}

impl Texts {
    /// The option that `argument` is, where it takes texts and none is tied to it yet.
    fn of(command: &Command, argument: &OsStr) -> Option<Self> {
        let name = argument.to_str()?.strip_prefix("--")?;
        let option = command.get_arguments().find(|option| goes_by(option, name))?;
        TEXTS.contains(&name).then(|| Self {
            option: argument.to_owned(),
            many: option.get_num_args().is_some_and(|range| range.max_values() > 1),
            tied: 0,
        })
    }

    fn tie(&mut self, value: &OsStr) -> OsString {
        self.tied += 1;
        let mut tied = self.option.clone();
        tied.push("=");
        tied.push(value);
        tied
    }

    /// The option alone, for `clap` to complain of, where no value followed.
    fn without_value(self) -> Option<OsString> {
        (self.tied == 0).then_some(self.option)
    }
}

/// Whether `argument` begins as an option does, but can be none, not even one that is misspelt.
fn is_text(argument: &OsStr) -> bool {
    let Some(text) = argument.to_str().and_then(|text| text.strip_prefix('-')) else {
        return false;
    };
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    name.contains(char::is_whitespace) || text.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether `argument` is an option whose value is the argument behind it.
fn takes_value(command: &Command, argument: &OsStr) -> bool {
    let name = argument.to_str().and_then(|argument| argument.strip_prefix("--"));
    let option = name.and_then(|name| command.get_arguments().find(|option| goes_by(option, name)));
    option
        .filter(|option| !option.is_require_equals_set())
        .and_then(Arg::get_num_args)
        .is_some_and(|range| range.min_values() > 0)
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
    fn two_hyphens_are_a_text_where_one_is_missing() {
        let line = ["blip2", "caption", "--prompt", "--", "a.png", "--", "-b.png"];
        let expected = ["blip2", "caption", "--prompt=--", "a.png", "--", "-b.png"];
        assert_eq!(tied_line(&line), expected);
    }

    #[test]
    fn a_question_in_front_of_its_picture_goes_behind_it() {
        for (line, expected) in [
            (["-5 or 6?", "a.png", "--json"], ["a.png", "--json", "-5 or 6?"]),
            (["-5", "--", "a.png"], ["--", "a.png", "-5"]),
            (
                ["--length-penalty", "-1", "a.png"],
                ["--length-penalty", "-1", "a.png"],
            ),
            (["--modle", "m", "a.png"], ["--modle", "m", "a.png"]),
        ] {
            let begun = |rest: [&'static str; 3]| [&["blip2", "ask"][..], &rest].concat();
            assert_eq!(tied_line(&begun(line)), begun(expected));
        }
    }

    #[test]
    fn a_picture_behind_the_texts_is_none_of_them() {
        // A file that is there: tests run in the folder of the crate.
        let file = "Cargo.toml";
        let begun = |rest: &[&'static str]| [&["blip2", "match", "--model", "m"][..], rest].concat();
        for (line, expected) in [
            (
                vec!["--text", "-5", "two", file],
                vec!["--text=-5", "--text=two", file],
            ),
            (
                vec!["--text", "one", file, "--json"],
                vec!["--text=one", file, "--json"],
            ),
            // Another is the picture, or the only text is.
            (
                vec!["a.png", "--text", "one", file],
                vec!["a.png", "--text=one", "--text=Cargo.toml"],
            ),
            (
                vec!["--text", "one", file, "--", "a.png"],
                vec!["--text=one", "--text=Cargo.toml", "--", "a.png"],
            ),
            (vec!["--text", file], vec!["--text=Cargo.toml"]),
            (
                vec!["--text", "one", "absent.png"],
                vec!["--text=one", "--text=absent.png"],
            ),
        ] {
            assert_eq!(tied_line(&begun(&line)), begun(&expected));
        }
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
