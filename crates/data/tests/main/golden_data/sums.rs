//! The files are those that were made: nothing is proved by damaged data.

use blip2_golden::{Check, find, root};

use super::pictures::sha256;

#[test]
fn golden_data_are_whole() {
    if !root().join("data/SHA256SUMS").exists() {
        return;
    }
    let list = std::fs::read_to_string(find("data/SHA256SUMS").expect("just seen")).expect("a text");
    let mut check = Check::new("data");
    let mut wrong = Vec::new();
    for line in list.lines() {
        let (hash, file) = line.split_once("  ").expect("a hash and a file");
        let file = file.trim_start_matches("./");
        // Not by `find`: who compares sums has not read what they stand for.
        let is_right =
            std::fs::read(root().join("data").join(file)).is_ok_and(|bytes| sha256(&bytes) == hash);
        if !is_right {
            wrong.push(file.to_owned());
        }
    }
    check.identical("sha256", &wrong, &[]);
}
