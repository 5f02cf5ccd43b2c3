//! What many large pictures take together.

use std::fs;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blip2::RgbImage;
use serde_json::json;

use crate::support::{RETRIEVAL, Running};

/// Side of a picture: 27 MB as pixels, little as a file.
const SIDE: u32 = 3000;
/// Requests at once: more than 400 MB of pixels.
const REQUESTS: usize = 16;
/// Two pictures, and what reading and shrinking them takes beside.
const MOST: usize = 250 << 20;

/// The most memory that this process ever took, in bytes, where the system tells.
fn most_memory() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[test]
fn large_pictures_wait_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.png");
    RgbImage::new(SIDE, SIDE).save(&file).unwrap();
    let url = format!(
        "data:image/png;base64,{}",
        STANDARD.encode(fs::read(&file).unwrap())
    );
    let server = Running::new(RETRIEVAL, |_| {});
    let body = json!({"image": url, "texts": ["a cat"]});
    let Some(before) = most_memory() else {
        return;
    };
    thread::scope(|scope| {
        for _ in 0..REQUESTS {
            scope.spawn(|| server.ask("/v1/match", &body));
        }
    });
    let taken = most_memory().unwrap_or(0).saturating_sub(before);
    assert!(taken < MOST, "{taken} bytes for {REQUESTS} pictures");
}
