//! Waiting for a child process: how it ended, and passing on a wish to stop.

use std::io::{IsTerminal, stdin};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long a child may take to put its affairs in order once it was asked to stop.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It returned this exit code.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Ending {
    pub(crate) fn is_success(self) -> bool {
        self == Self::Exit(0)
    }

    /// The code to end with oneself: the child's own, or 128 and the signal, as shells have it.
    pub(crate) fn exit_code(self) -> ExitCode {
        let code = match self {
            Self::Exit(code) => code,
            Self::Signal(signal) => 128 + signal,
        };
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Exit(code),
            None => Self::Signal(status.signal().unwrap_or(0)),
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(formatter, "exit code {code}"),
            Self::Signal(signal) => write!(formatter, "killed by signal {signal}"),
        }
    }
}

/// Someone asked us to stop, and the child has stopped.
#[derive(Debug, thiserror::Error)]
#[error("stopped by signal {signal}")]
pub(crate) struct Stopped {
    pub(crate) signal: i32,
}

/// Runs `command` to its end and calls `tick` now and then while it waits.
///
/// # Errors
/// [`Stopped`] when a signal asked us to stop; else when the program does not start.
pub(crate) fn run(command: &mut Command, tick: impl FnMut()) -> Result<Ending> {
    let wish = wish_to_stop()?;
    let child = command
        .spawn()
        .with_context(|| format!("{:?} does not start", command.get_program()))?;
    wait(child, wish, tick)
}

/// Runs what `command` gives, and again as often as `restarts` where a signal killed it; it is told whether it goes on.
///
/// # Errors
/// As for [`run`].
pub(crate) fn persist(restarts: u32, mut command: impl FnMut(bool) -> Command) -> Result<ExitCode> {
    let mut killed = 0;
    loop {
        let mut command = command(killed > 0);
        let ending = run(&mut command, || ())?;
        if !matches!(ending, Ending::Signal(_)) || killed == restarts {
            return Ok(ending.exit_code());
        }
        eprintln!("{} {ending}: going on", command.get_program().display());
        killed += 1;
    }
}

/// Waits for `child`. A stop signal is passed on once; a child that outlasts its grace is killed.
fn wait(mut child: Child, wish: &AtomicUsize, mut tick: impl FnMut()) -> Result<Ending> {
    let mut asked: Option<Instant> = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        match (wish.load(Ordering::Relaxed), asked) {
            (0, _) => tick(),
            (signal, None) => {
                // A terminal sends Ctrl-C to the whole group of processes, the child included.
                if signal as i32 != SIGINT || !stdin().is_terminal() {
                    kill_process(Pid::from_child(&child), Signal::TERM)?;
                }
                asked = Some(Instant::now());
            }
            (_, Some(since)) if since.elapsed() > GRACE => child.kill()?,
            (_, Some(_)) => {}
        }
        sleep(POLL);
    };
    match wish.load(Ordering::Relaxed) {
        0 => Ok(status.into()),
        signal => Err(Stopped {
            signal: signal as i32,
        }
        .into()),
    }
}

/// The number of the signal that asked us to stop, 0 while none did. Installs the handlers on first use.
fn wish_to_stop() -> Result<&'static AtomicUsize> {
    static WISH: LazyLock<std::io::Result<Arc<AtomicUsize>>> = LazyLock::new(|| {
        let wish = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(signal, Arc::clone(&wish), signal as usize)?;
        }
        Ok(wish)
    });
    WISH.as_deref()
        .map_err(|error| anyhow!("cannot listen for signals: {error}"))
}
