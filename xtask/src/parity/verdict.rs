//! What the log of a run and the output of its tests prove.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use blip2_golden::{Comparison, Line};

use super::coverage;

/// All comparisons of a run, sorted by name. What should have been compared and was not is among them as failed.
pub(crate) struct Verdict {
    pub(crate) comparisons: Vec<Comparison>,
}

impl Verdict {
    /// # Errors
    /// The log has a line that no test wrote, or `golden` cannot be listed.
    pub(crate) fn of(golden: &Path, log: &str, output: &str, success: bool) -> Result<Self> {
        let lines: Vec<Line> = log.lines().map(str::parse).collect::<Result<_, _>>()?;
        let mut found: BTreeMap<(String, String), Comparison> = BTreeMap::new();
        let mut add = |comparison: Comparison| {
            let name = (comparison.subject.clone(), comparison.what.clone());
            // Where two tests make the same comparison, the one that failed counts.
            match found.get(&name) {
                Some(former) if !former.passed() => {}
                _ => {
                    found.insert(name, comparison);
                }
            }
        };
        for line in &lines {
            if let Line::Compared(comparison) = line {
                add(comparison.clone());
            }
        }
        for test in failed_tests(output) {
            let told = lines
                .iter()
                .any(|line| matches!(line, Line::Compared(known) if known.test == test && !known.passed()));
            if !told {
                add(Comparison::failed(test, "panicked"));
            }
        }
        coverage::unproven(golden, &lines)?.into_iter().for_each(&mut add);
        let comparisons: Vec<Comparison> = found.into_values().collect();
        let mut verdict = Self { comparisons };
        if verdict.comparisons.is_empty() {
            verdict
                .comparisons
                .push(Comparison::failed("parity", "nothing-compared"));
        }
        if !success && verdict.failed() == 0 {
            verdict
                .comparisons
                .push(Comparison::failed("parity", "tests-ended-early"));
        }
        Ok(verdict)
    }

    pub(crate) fn failed(&self) -> usize {
        let failed = self.comparisons.iter().filter(|comparison| !comparison.passed());
        failed.count()
    }
}

/// The tests that the output of `cargo test` calls failed.
fn failed_tests(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PASSED: &str = "compared\tparts/a\tlogits\t1e-7\t1e-4\t0.0002\tpackage\tgolden::a";

    /// A golden folder with one model and its expected output.
    fn golden() -> tempfile::TempDir {
        let golden = tempfile::tempdir().expect("a folder");
        let model = golden.path().join("parts/a");
        fs::create_dir_all(&model).expect("a folder");
        for (file, content) in [
            ("config.json", r#"{"architectures": ["A"]}"#),
            ("model.safetensors", "weights"),
            ("expected.safetensors", "values"),
        ] {
            fs::write(model.join(file), content).expect("a file");
        }
        fs::write(golden.path().join("README.md"), "what this is").expect("a file");
        golden
    }

    fn verdict(lines: &[&str], output: &str, success: bool) -> Vec<String> {
        let golden = golden();
        let verdict = Verdict::of(golden.path(), &lines.join("\n"), output, success).expect("a verdict");
        verdict.comparisons.iter().map(ToString::to_string).collect()
    }

    const READ: [&str; 2] = ["read\tparts/a", "read\tparts/a/expected.safetensors"];

    #[test]
    fn what_was_read_and_compared_is_proven() {
        let lines = [&READ[..], &[PASSED]].concat();
        assert_eq!(verdict(&lines, "", true), ["ok parts/a/logits 1.00e-7 1.00e-4"]);
    }

    #[test]
    fn what_no_test_reads_or_compares_fails() {
        let unread = verdict(&[READ[0], PASSED], "", true);
        assert_eq!(unread[1], "FAIL parts/a/expected.safetensors/unread NaN 0");
        let uncompared = verdict(&READ, "", true);
        assert_eq!(uncompared, ["FAIL parts/a/uncompared NaN 0"]);
        let held = "held\tparts/a/expected.safetensors\tlogits";
        let other = "taken\tparts/a/expected.safetensors\tloss";
        let untaken = verdict(&[&READ[..], &[PASSED, held, other]].concat(), "", true);
        assert_eq!(
            untaken[1],
            "FAIL parts/a/expected.safetensors/unread-logits NaN 0"
        );
        let nothing = verdict(&[], "", true);
        assert!(nothing.iter().all(|line| line.starts_with("FAIL")), "{nothing:?}");
    }

    #[test]
    fn a_test_that_panics_fails_also_where_it_logged_nothing() {
        let lines = [&READ[..], &[PASSED]].concat();
        let output = "test golden::a ... ok\ntest golden::b ... FAILED\n";
        assert_eq!(verdict(&lines, output, false)[0], "FAIL golden::b/panicked NaN 0");
        assert_eq!(
            verdict(&lines, "", false)[1],
            "FAIL parity/tests-ended-early NaN 0"
        );
        let failed = PASSED.replace("1e-7", "1");
        let told = verdict(
            &[&READ[..], &[PASSED, &failed, PASSED]].concat(),
            "test golden::a ... FAILED",
            false,
        );
        assert_eq!(told, ["FAIL parts/a/logits 1 1.00e-4"]);
    }
}
