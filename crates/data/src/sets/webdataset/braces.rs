//! Brace lists as webdataset's `braceexpand` reads them: `{00000..00331}`, `{a,b}`, nested, several lists joined by `::`.

use thiserror::Error;

/// More names than any data set has shards.
const MOST: usize = 10_000_000;

/// Why a list of braces cannot be read.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BracesError {
    /// A brace without its partner.
    #[error("{0}: its braces do not come in pairs; write \\{{ for a brace that is part of a name")]
    Unbalanced(String),
    /// A range without end.
    #[error("{0}: it stands for more than {MOST} names")]
    TooMany(String),
}

/// All names that the list stands for, in order.
///
/// # Errors
/// If braces do not come in pairs, or the names are too many.
pub fn expand(list: &str) -> Result<Vec<String>, BracesError> {
    let mut names = Vec::new();
    for part in list.split("::") {
        let text: Vec<char> = part.chars().collect();
        let found = pattern(&text).map_err(|problem| match problem {
            Problem::Unbalanced => BracesError::Unbalanced(part.to_owned()),
            Problem::TooMany => BracesError::TooMany(part.to_owned()),
        })?;
        names.extend(found.iter().map(|name| without_escapes(name)));
    }
    Ok(names)
}

/// A list that stands for `name` alone.
pub(crate) fn escape(name: &str) -> String {
    let special = |letter: char| matches!(letter, '{' | '}' | '\\').then_some('\\');
    name.chars()
        .flat_map(|letter| special(letter).into_iter().chain([letter]))
        .collect()
}

enum Problem {
    Unbalanced,
    TooMany,
}

/// A text with lists in it: every choice from one list with every choice from the others, the last one changing fastest.
fn pattern(text: &[char]) -> Result<Vec<String>, Problem> {
    let mut names = vec![String::new()];
    let (mut depth, mut start, mut at) = (0usize, 0, 0);
    while at < text.len() {
        match text[at] {
            '\\' => at += 1,
            '{' => {
                if depth == 0 {
                    names = product(&names, &[text[start..at].iter().collect()])?;
                    start = at;
                }
                depth += 1;
            }
            '}' => {
                depth = depth.checked_sub(1).ok_or(Problem::Unbalanced)?;
                if depth == 0 {
                    names = product(&names, &choices(&text[start + 1..at])?)?;
                    start = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if depth != 0 {
        return Err(Problem::Unbalanced);
    }
    product(&names, &[text[start..].iter().collect()])
}

fn product(names: &[String], choices: &[String]) -> Result<Vec<String>, Problem> {
    if names.len().saturating_mul(choices.len()) > MOST {
        return Err(Problem::TooMany);
    }
    let joined = names
        .iter()
        .flat_map(|name| choices.iter().map(move |choice| format!("{name}{choice}")));
    Ok(joined.collect())
}

/// What stands between two braces: a range, a list, or neither, and then the braces are part of the name.
fn choices(text: &[char]) -> Result<Vec<String>, Problem> {
    let whole: String = text.iter().collect();
    if let Some(range) = range(&whole) {
        return range;
    }
    let parts = split_at_commas(text);
    if parts.len() < 2 {
        let inner = pattern(text)?;
        return Ok(inner.iter().map(|inner| format!("{{{inner}}}")).collect());
    }
    let mut found = Vec::new();
    for part in parts {
        found.extend(pattern(part)?);
    }
    Ok(found)
}

fn split_at_commas(text: &[char]) -> Vec<&[char]> {
    let (mut parts, mut depth, mut start, mut at) = (Vec::new(), 0, 0, 0);
    while at < text.len() {
        match text[at] {
            '\\' => at += 1,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[start..]);
    parts
}

/// `1..3`, `07..10`, `a..e`, each with an optional step; `None` where the text is no range.
fn range(text: &str) -> Option<Result<Vec<String>, Problem>> {
    let mut ends = text.split("..");
    let (first, last) = (ends.next()?, ends.next()?);
    let step = match ends.next() {
        Some(step) => usize::try_from(number(step.strip_prefix('-').unwrap_or(step))?)
            .ok()?
            .max(1),
        None => 1,
    };
    if ends.next().is_some() {
        return None;
    }
    if let (Some(from), Some(to)) = (number(first), number(last)) {
        let is_padded =
            |end: &str| end != "0" && end != "-0" && (end.starts_with('0') || end.starts_with("-0"));
        let width = if is_padded(first) || is_padded(last) {
            first.len().max(last.len())
        } else {
            0
        };
        return Some(
            steps(from, to, step).map(|numbers| numbers.map(|number| format!("{number:0width$}")).collect()),
        );
    }
    let (from, to) = (letter(first)?, letter(last)?);
    Some(steps(from, to, step).map(|places| {
        places
            .map(|place| char::from(LETTERS[place as usize]).to_string())
            .collect()
    }))
}

/// Lower case follows upper case, with nothing between.
const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn letter(text: &str) -> Option<i64> {
    let place = LETTERS.iter().position(|letter| text.as_bytes() == [*letter])?;
    Some(place as i64)
}

fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn steps(from: i64, to: i64, step: usize) -> Result<impl Iterator<Item = i64>, Problem> {
    let count = (from.abs_diff(to) / step as u64).saturating_add(1);
    if count > MOST as u64 {
        return Err(Problem::TooMany);
    }
    let step = if from <= to { step as i64 } else { -(step as i64) };
    Ok((0..count as i64).map(move |place| from + place * step))
}

fn without_escapes(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.push(letters.next().unwrap_or('\\')),
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each as `braceexpand` 0.1.7 gives it.
    #[test]
    fn lists_stand_for_what_braceexpand_says() {
        let cases: &[(&str, &[&str])] = &[
            ("a.tar", &["a.tar"]),
            ("", &[""]),
            (
                "s-{00000..00002}.tar",
                &["s-00000.tar", "s-00001.tar", "s-00002.tar"],
            ),
            ("{07..10}", &["07", "08", "09", "10"]),
            ("{8..11}", &["8", "9", "10", "11"]),
            ("{2..-1}", &["2", "1", "0", "-1"]),
            ("{-01..1}", &["-01", "000", "001"]),
            ("{0..10..5}", &["0", "5", "10"]),
            ("{1..0}{a,b}", &["1a", "1b", "0a", "0b"]),
            ("{a..g..2}", &["a", "c", "e", "g"]),
            ("{c..a}", &["c", "b", "a"]),
            ("{Y..b}", &["Y", "Z", "a", "b"]),
            ("x{,.backup}", &["x", "x.backup"]),
            ("p{2.{5..7},3.{2,3}}", &["p2.5", "p2.6", "p2.7", "p3.2", "p3.3"]),
            ("{a}", &["{a}"]),
            ("{{1,2}}", &["{1}", "{2}"]),
            ("\\{1,2\\}", &["{1,2}"]),
            ("a\\\\{1,2}", &["a\\1", "a\\2"]),
            ("{1..2..0}", &["1", "2"]),
            ("{1.5..2}", &["{1.5..2}"]),
            ("{a..1}", &["{a..1}"]),
            ("a{0..1}::b", &["a0", "a1", "b"]),
        ];
        for (list, names) in cases {
            assert_eq!(
                expand(list).as_deref(),
                Ok(*names)
                    .map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                    .as_deref(),
                "{list}"
            );
        }
    }

    #[test]
    fn lists_without_end_or_partner_are_refused() {
        for list in ["{", "a}", "{1{2,3}", "{a,b"] {
            assert_eq!(expand(list), Err(BracesError::Unbalanced(list.into())), "{list}");
        }
        for list in [
            "{0..99999999999}",
            "{1..9999}{1..9999}",
            "{0..-9223372036854775807}",
        ] {
            assert_eq!(expand(list), Err(BracesError::TooMany(list.into())), "{list}");
        }
    }
}
