//! A scorer's program while it runs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use super::{Jar, JavaError};

/// How much of the end of the program's complaints is kept, in bytes.
const LAST_WORDS: usize = 2000;

/// A running scorer; it is ended when dropped.
pub(super) struct Running {
    path: PathBuf,
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Reads what the program writes of errors, lest it waits for a reader.
    complaints: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts the program in its own folder, where it looks for its data.
    ///
    /// # Errors
    /// The jar is missing, or Java does not start.
    pub(super) fn start(jar: &Jar, memory: &str, arguments: &[&Path]) -> Result<Self, JavaError> {
        let path = std::path::absolute(&jar.path)
            .ok()
            .filter(|path| path.is_file())
            .ok_or_else(|| JavaError::NoJar {
                path: jar.path.clone(),
            })?;
        let no_java = |source| JavaError::NoJava {
            java: jar.java.clone(),
            source,
        };
        let mut child = Command::new(&jar.java)
            .args(["-Dfile.encoding=UTF-8", memory, "-jar"])
            .arg(&path)
            .args(arguments)
            .current_dir(path.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_java)?;
        let (Some(questions), Some(answers), Some(complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(no_java(io::Error::other("it has no pipes")));
        };
        Ok(Self {
            path,
            child,
            questions: Some(questions),
            answers: BufReader::new(answers),
            complaints: Some(std::thread::spawn(move || last_words(complaints))),
        })
    }

    /// Writes a line to the program.
    ///
    /// # Errors
    /// It listens no more.
    pub(super) fn ask(&mut self, line: &str) -> Result<(), JavaError> {
        let written = self.questions.as_mut().map(|questions| {
            questions.write_all(line.as_bytes())?;
            questions.write_all(b"\n")?;
            questions.flush()
        });
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failed("it ended before all captions were read")),
        }
    }

    /// Reads a line of the program.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn answer(&mut self) -> Result<String, JavaError> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.trim().to_owned()),
            _ => Err(self.failed("it ended without an answer")),
        }
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Errors
    /// It says that it failed.
    pub(super) fn end(&mut self) -> Result<(), JavaError> {
        self.questions = None;
        let read = io::copy(&mut self.answers, &mut io::sink());
        match read.and_then(|_| self.child.wait()) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(&format!("it ended with {status}"))),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    /// Ends the program, and tells why, with its last words.
    pub(super) fn failed(&mut self, reason: &str) -> JavaError {
        self.stop();
        let complaints = self.complaints.take().and_then(|reader| reader.join().ok());
        JavaError::Failed {
            path: self.path.clone(),
            reason: reason.to_owned(),
            complaints: complaints
                .filter(|words| !words.is_empty())
                .unwrap_or_else(|| "none".to_owned()),
        }
    }

    fn stop(&mut self) {
        self.questions = None;
        // Both fail only where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn last_words(mut complaints: ChildStderr) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = complaints.read(&mut piece) {
        kept.extend_from_slice(&piece[..length]);
        kept.drain(..kept.len().saturating_sub(LAST_WORDS));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
