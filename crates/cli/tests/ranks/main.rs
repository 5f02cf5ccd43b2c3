//! Training by several processes that mpirun starts: the same run on any number of them, whatever happens to one.
//!
//! Needs Open MPI and the assets of the demo: `cargo xtask test` provides both where it can.

mod job;

use std::process::Command;
use std::time::Duration;

use blip2_core::weights::{SafetensorsStore, TensorStore};

use crate::job::{Jobs, said};

/// How long a job may outlive one of its processes.
const ENDS: Duration = Duration::from_secs(10);
/// Of the recipe: queries and one text, in so many numbers.
const EMBEDDINGS: usize = (8 + 1) * 256;

#[test]
fn a_run_survives_a_kill_and_a_full_disk_and_goes_on_with_more_processes() {
    let Some(jobs) = Jobs::new() else { return };
    jobs.finish("whole", 2, &[]);
    let whole = jobs.losses("whole");
    assert_eq!(
        whole.keys().copied().collect::<Vec<_>>(),
        (1..=30).collect::<Vec<_>>()
    );
    traffic_is_the_arithmetic(&jobs);

    let mut job = jobs.start(&[(2, jobs.words("broken", &[]))]);
    job.reach(&jobs, "broken", 11);
    job.signal(&jobs, "broken", 1, "-KILL");
    let output = job.end(ENDS);
    assert!(!output.status.success());
    let checkpoint = jobs
        .run("broken")
        .join("checkpoints/stage1/step-00000010/manifest.json");
    assert!(checkpoint.is_file(), "{}", said(&output));

    // A disk that takes no more than 8 MB a file, for the rank that writes.
    let words = jobs.words("broken", &["--resume"]);
    let full = ["sh", "-c", "trap '' XFSZ; ulimit -f 16000; exec \"$@\"", "sh"].map(str::to_owned);
    let first = full.into_iter().chain(words.clone()).collect();
    let output = jobs
        .start(&[(1, first), (1, words)])
        .end(Duration::from_secs(300));
    assert!(!output.status.success());
    let told = said(&output);
    assert!(told.contains("step-00000020.partial"), "{told}");
    assert!(checkpoint.is_file(), "{told}");

    jobs.finish("broken", 4, &["--resume"]);
    let broken = jobs.losses("broken");
    assert_eq!(broken.len(), whole.len());
    for (step, loss) in &whole {
        let apart = (broken[step] - loss).abs();
        assert!(
            apart <= 1e-6 * loss.abs(),
            "step {step}: {} after the kill, {loss}",
            broken[step]
        );
    }
    // One process that is not launched by anyone has the same run, too.
    let words = jobs.words("alone", &[]);
    jobs.start(&[(1, words)]).end(Duration::from_secs(900));
    assert_eq!(jobs.losses("alone"), whole);
}

/// `docs/scale.md`: of two ranks each receives the gradients once, and the embeddings of four pairs.
fn traffic_is_the_arithmetic(jobs: &Jobs) {
    let moments = jobs
        .run("whole")
        .join("checkpoints/stage1/step-00000030/optimizer.safetensors");
    let moments = SafetensorsStore::open(&moments).expect("moments");
    let of_one = moments
        .tensors()
        .iter()
        .filter(|(name, _)| name.starts_with("first."));
    let trained: usize = of_one.map(|(_, info)| info.shape.iter().product::<usize>()).sum();
    for line in jobs.lines("whole") {
        let received = line["received_bytes"].as_object().expect("bytes by name");
        assert_eq!(received["gradients"], (4 * trained) as f64, "{line:?}");
        assert_eq!(received["embeddings"], (4 * EMBEDDINGS * 4) as f64, "{line:?}");
        // At most what every text of a part has drawn, 17 tokens of 384 numbers, and a byte that says of which size they are.
        let features = received
            .get("features of negatives")
            .and_then(|bytes| bytes.as_f64());
        let Some(features) = features.map(|bytes| bytes as usize) else {
            continue;
        };
        assert!(
            (features - 1).is_multiple_of(17 * 384 * 4) && features <= 1 + 4 * 17 * 384 * 4,
            "{line:?}"
        );
    }
}

#[test]
fn a_stopped_process_ends_the_job_within_the_time_of_the_watchdog() {
    let Some(jobs) = Jobs::new() else { return };
    let mut job = jobs.start(&[(2, jobs.words("stopped", &["--watchdog", "5"]))]);
    job.reach(&jobs, "stopped", 3);
    job.signal(&jobs, "stopped", 1, "-STOP");
    let output = job.end(Duration::from_secs(5) + ENDS);
    let told = said(&output);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains("on rank 0 of 2: rank 1 did not answer within 5") && told.contains(" of `"),
        "{told}"
    );
}

#[test]
fn recipes_that_differ_are_named() {
    let Some(jobs) = Jobs::new() else { return };
    let (words, other) = (
        jobs.words("apart", &[]),
        jobs.words("apart", &["--set", "seed=43"]),
    );
    let output = jobs
        .start(&[(1, words), (1, other)])
        .end(Duration::from_secs(300));
    let told = said(&output);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains("rank 1 of 2 has another recipe than rank 0"),
        "{told}"
    );
    assert!(!jobs.run("apart").exists());
}

#[test]
fn parts_that_processes_cannot_share_are_refused() {
    let Some(jobs) = Jobs::new() else { return };
    let output = jobs
        .start(&[(3, jobs.words("three", &[]))])
        .end(Duration::from_secs(300));
    let told = said(&output);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains("stage1.parts is 4, which 3 ranks cannot share evenly"),
        "{told}"
    );
}

#[test]
fn a_launcher_that_mpi_does_not_know_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .envs([
            ("RANK", "1"),
            ("WORLD_SIZE", "2"),
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ])
        .args(["pretrain", "--recipe", "none.toml", "--run", "none"])
        .output()
        .expect("the program");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("torchrun started this process as rank 1 of 2, but MPI knows it as rank 0 of 1"),
        "{told}"
    );
}
