//! One side of a comparison: a process that is asked in lines of JSON and answers each with one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// A running process. It ends when its input does.
pub(crate) struct Contestant {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// An answer to `open`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Opened {
    /// What the workload needs at least, one phase after the other, as far as it is known.
    #[serde(default)]
    pub(crate) phases: Vec<Phase>,
}

/// What a part of the work needs: both can be done at the same time.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Phase {
    /// Floating-point operations, by the type of what is multiplied.
    pub(crate) f32_operations: f64,
    pub(crate) bf16_operations: f64,
    /// Bytes read and written if nothing is touched twice.
    pub(crate) bytes: f64,
}

/// One answer to `run`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Ran {
    /// Of all repetitions together.
    pub(crate) seconds: f64,
    /// The most memory that the process has had since the workload was opened.
    pub(crate) peak_bytes: u64,
}

impl Contestant {
    /// Starts `command`, known as `name` in errors.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name}: {:?} does not start", command.get_program()))?;
        let answers = child.stdout.take().context("the output is piped")?;
        Ok(Self {
            name,
            input: child.stdin.take(),
            answers: BufReader::new(answers),
            child,
        })
    }

    /// Builds a workload and runs it once, for warming up.
    pub(crate) fn open(&mut self, work: &Value) -> Result<Opened> {
        let answer = self.ask(&json!({"open": work}))?;
        serde_json::from_value(answer).with_context(|| format!("{}: no answer to `open`", self.name))
    }

    /// Runs the open workload `times` over.
    pub(crate) fn run(&mut self, times: u64) -> Result<Ran> {
        let answer = self.ask(&json!({"run": times}))?;
        serde_json::from_value(answer).with_context(|| format!("{}: no answer to `run`", self.name))
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// The process has ended, or answers with an error of its own.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value> {
        let mut line = String::new();
        let sent = match &mut self.input {
            Some(input) => writeln!(input, "{request}").and_then(|()| input.flush()),
            None => Ok(()),
        };
        if sent.is_err() || self.answers.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            bail!("{} ended ({status}) when asked for {request}", self.name);
        }
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} answers {request} with {}", self.name, line.trim_end()))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => bail!("{} cannot do {request}: {error}", self.name),
            None => Ok(answer),
        }
    }
}

impl Drop for Contestant {
    /// Closes the input and waits, so that the next one has the machine to itself.
    fn drop(&mut self) {
        self.input = None;
        // Nothing is left to be done about one that cannot be waited for.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Contestant {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Contestant::start("a shell", command).unwrap()
    }

    #[test]
    fn answers_are_read_line_by_line() {
        let mut shell = shell(r#"read line; echo '{}'; read line; echo '{"seconds": 0.5, "peak_bytes": 7}'"#);
        assert!(shell.open(&json!({"kind": "any"})).unwrap().phases.is_empty());
        let ran = shell.run(3).unwrap();
        assert_eq!((ran.seconds, ran.peak_bytes), (0.5, 7));
    }

    #[test]
    fn an_error_and_an_end_are_told_apart_and_named() {
        let error = shell(r#"read line; echo '{"error": "no such kind"}'"#)
            .run(1)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a shell cannot do") && error.contains("no such kind"),
            "{error}"
        );
        let error = shell("read line; exit 3").run(1).unwrap_err().to_string();
        assert!(error.contains("a shell ended (exit status: 3)"), "{error}");
    }
}
