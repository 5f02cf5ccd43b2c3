//! The log of a parity run: one line for each thing read or compared, written by tests and read by `cargo xtask parity`.

use std::fmt::{self, Display, Formatter};
use std::fs::OpenOptions;
use std::io::Write;
use std::str::FromStr;

/// The variable that names the golden folder.
pub const ROOT: &str = "BLIP2_GOLDEN";
/// The variable that names the device to compute on.
pub const DEVICE: &str = "BLIP2_TEST_DEVICE";
/// The variable that names the file to log to.
pub const LOG: &str = "BLIP2_PARITY_LOG";

/// What happened, one line of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A file or folder was read.
    Read {
        /// Relative to the golden folder.
        path: String,
    },
    /// A file of expected values holds this tensor.
    Held {
        /// Relative to the golden folder.
        file: String,
        /// The tensor's name.
        tensor: String,
    },
    /// A test took this tensor to compute with or to compare.
    Taken {
        /// Relative to the golden folder.
        file: String,
        /// The tensor's name.
        tensor: String,
    },
    /// Something was compared.
    Compared(Comparison),
}

/// How a difference is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Against the largest expected magnitude times a tolerance.
    Largest {
        /// The factor.
        tolerance: f64,
    },
    /// As it is.
    Absolute,
    /// The number of places that differ, of which none may.
    Identical,
}

/// One comparison and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Folder or file, relative to the golden folder.
    pub subject: String,
    /// Quantity, and behind a slash which of its kind.
    pub what: String,
    /// The largest absolute difference.
    pub difference: f64,
    /// The largest difference that passes, in the same unit.
    pub allowed: f64,
    /// Where the allowed difference comes from.
    pub measure: Measure,
    /// The crate whose test it was.
    pub package: String,
    /// The path of the test.
    pub test: String,
}

impl Comparison {
    pub(crate) fn new(subject: &str, what: &str, difference: f64, allowed: f64, measure: Measure) -> Self {
        Self {
            subject: word(subject),
            what: word(what),
            difference,
            allowed,
            measure,
            // cargo tells a test which package it is of, and libtest names the thread after the test.
            package: std::env::var("CARGO_PKG_NAME").unwrap_or_default(),
            test: std::thread::current().name().unwrap_or_default().to_owned(),
        }
    }

    /// A comparison that should have been made and was not.
    pub fn failed(subject: &str, what: &str) -> Self {
        Self::new(subject, what, f64::NAN, 0.0, Measure::Absolute)
    }

    /// Whether we are near enough. A difference that is not a number is never near.
    pub fn passed(&self) -> bool {
        self.difference <= self.allowed
    }
}

/// Names are fields of a line.
fn word(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("-")
}

/// `ok|FAIL NAME DIFFERENCE ALLOWED`, what `cargo xtask parity` prints.
impl Display for Comparison {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "ok" } else { "FAIL" };
        write!(
            formatter,
            "{verdict} {}/{} {} {}",
            self.subject,
            self.what,
            short(self.difference),
            short(self.allowed)
        )
    }
}

/// Three digits, and none that say nothing.
fn short(number: f64) -> String {
    if number == 0.0 || number.fract() == 0.0 && number.abs() < 1e6 {
        format!("{number}")
    } else {
        format!("{number:.2e}")
    }
}

impl Line {
    pub(crate) fn read(path: &str) -> Self {
        Self::Read {
            path: path.to_owned(),
        }
    }

    pub(crate) fn held(file: &str, tensor: &str) -> Self {
        Self::Held {
            file: file.to_owned(),
            tensor: tensor.to_owned(),
        }
    }

    pub(crate) fn taken(file: &str, tensor: &str) -> Self {
        Self::Taken {
            file: file.to_owned(),
            tensor: tensor.to_owned(),
        }
    }

    /// Adds the line to the log, if there is one.
    ///
    /// # Panics
    /// Where the log cannot be written: a run without all of its lines proves nothing.
    pub(crate) fn append(self) {
        let Some(path) = std::env::var_os(LOG) else {
            return;
        };
        // One write a line: several tests log at the same time.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut log| log.write_all(format!("{self}\n").as_bytes()))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// The line as the log has it, without its end.
impl Display for Line {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.fields().join("\t"))
    }
}

impl Line {
    fn fields(&self) -> Vec<String> {
        match self {
            Self::Read { path } => vec!["read".to_owned(), path.clone()],
            Self::Held { file, tensor } => vec!["held".to_owned(), file.clone(), tensor.clone()],
            Self::Taken { file, tensor } => vec!["taken".to_owned(), file.clone(), tensor.clone()],
            Self::Compared(comparison) => {
                let measure = match comparison.measure {
                    Measure::Largest { tolerance } => tolerance.to_string(),
                    Measure::Absolute => "absolute".to_owned(),
                    Measure::Identical => "identical".to_owned(),
                };
                vec![
                    "compared".to_owned(),
                    comparison.subject.clone(),
                    comparison.what.clone(),
                    comparison.difference.to_string(),
                    comparison.allowed.to_string(),
                    measure,
                    comparison.package.clone(),
                    comparison.test.clone(),
                ]
            }
        }
    }
}

/// A line that no test wrote.
#[derive(Debug)]
pub struct LineError(String);

impl Display for LineError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "not a line of a parity log: `{}`", self.0)
    }
}

impl std::error::Error for LineError {}

impl FromStr for Line {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let error = || LineError(line.to_owned());
        let number = |text: &str| text.parse::<f64>().map_err(|_| error());
        let fields: Vec<&str> = line.split('\t').collect();
        Ok(match fields[..] {
            ["read", path] => Self::read(path),
            ["held", file, tensor] => Self::held(file, tensor),
            ["taken", file, tensor] => Self::taken(file, tensor),
            [
                "compared",
                subject,
                what,
                difference,
                allowed,
                measure,
                package,
                test,
            ] => Self::Compared(Comparison {
                subject: subject.to_owned(),
                what: what.to_owned(),
                difference: number(difference)?,
                allowed: number(allowed)?,
                measure: match measure {
                    "absolute" => Measure::Absolute,
                    "identical" => Measure::Identical,
                    tolerance => Measure::Largest {
                        tolerance: number(tolerance)?,
                    },
                },
                package: package.to_owned(),
                test: test.to_owned(),
            }),
            _ => return Err(error()),
        })
    }
}
