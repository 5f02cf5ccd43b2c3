//! Progress on stderr, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const REDRAW: Duration = Duration::from_millis(200);

/// A sign of life while something of unknown length goes on.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(REDRAW);
    spinner
}

/// A bar over `total` steps, with rate and time left.
pub(crate) fn bar(total: u64, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {per_sec}  {eta} left  {msg}");
    let bar = ProgressBar::new(total).with_prefix(name.to_owned());
    bar.enable_steady_tick(REDRAW);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar over bytes, of a total that becomes known later; its message says of what.
pub(crate) fn bytes() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}");
    let bar = ProgressBar::new(0);
    bar.enable_steady_tick(REDRAW);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
