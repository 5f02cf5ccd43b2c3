//! How training scales over processes: one that has a core against several that have a core each, on the same batches, in turns.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::outcome::Side;
use crate::device::Device;
use crate::{assets, launch, places, process, ranks};

/// Both stages, the encoder live, at the size of the demo.
const RECIPE: &str = "recipes/mini/scenes.toml";
const STAGES: [&str; 2] = ["stage1", "stage2"];
const ROUNDS: usize = 3;
/// Steps of each stage, and those that are not timed: the first touch memory that nobody has touched.
const STEPS: u64 = 15;
const WARM_UP: u64 = 3;
/// The share of `ranks` times the pace that is asked for.
const GOAL: f64 = 0.9;

/// Times `ranks` processes and one, prints how they compare, and keeps it in `folder`.
pub(super) fn run(home: &Path, folder: &Path, ranks: u32) -> Result<ExitCode> {
    let cores = cores()?;
    ensure!(
        cores.len() >= ranks as usize,
        "{ranks} processes need a core each: there are {}",
        cores.len()
    );
    ensure!(
        ranks::is_there(),
        "there is no Open MPI here: apt-get install openmpi-bin libopenmpi-dev"
    );
    assets::ensure(home)?;
    let program = launch::build_for(Device::Flex, home, &["blip2"], &[ranks::FEATURE])?.join("blip2");
    let folder = folder.join("ranks");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Seconds a step: by stage, of one and of all.
    let mut seconds: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..ROUNDS {
        let mut sides = [(0, 1), (1, ranks as usize)];
        if round % 2 == 1 {
            sides.reverse();
        }
        for (side, size) in sides {
            let run = train(&program, home, &folder, &cores[..size], ranks)?;
            let log = fs::read_to_string(run.join("metrics.jsonl")).context("the run has no log")?;
            for (stage, seconds) in STAGES.iter().zip(&mut seconds) {
                let a_step = seconds_a_step(&log, stage)?;
                eprintln!(
                    "round {} of {ROUNDS}, {size} of {ranks}, {stage}: {a_step:.3} s a step",
                    round + 1
                );
                seconds[side].push(a_step);
            }
        }
    }
    let mut rows = Vec::new();
    for (stage, seconds) in STAGES.iter().zip(&seconds) {
        let [alone, together] = [0, 1].map(|side| Side::of(&seconds[side], 0));
        let efficiency = alone.median / together.median / f64::from(ranks);
        println!(
            "{stage}: {:.3} s a step on one core, {:.3} s on {ranks} ranks with a core each: {:.2} times the pace, efficiency {efficiency:.2} \
             (goal {GOAL}), spread {:.0}% {:.0}%",
            alone.median,
            together.median,
            alone.median / together.median,
            100.0 * alone.spread,
            100.0 * together.spread
        );
        rows.push(json!({
            "name": stage,
            "ranks": ranks,
            "alone_s": alone.median,
            "together_s": together.median,
            "efficiency": efficiency,
            "goal": GOAL,
        }));
    }
    let file = folder.join("results.json");
    fs::write(&file, serde_json::to_string_pretty(&rows)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", places::shown(&file));
    Ok(ExitCode::SUCCESS)
}

/// Trains both stages, as many processes as there are `cores`, in `parts`, and gives the run folder.
fn train(program: &Path, home: &Path, folder: &Path, cores: &[usize], parts: u32) -> Result<PathBuf> {
    let run = folder.join("run");
    if run.exists() {
        fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
    }
    let told = folder.join("output.txt");
    let output = File::create(&told).with_context(|| format!("cannot write {}", told.display()))?;
    let mut set = vec!["loader.threads=1".to_owned()];
    for stage in STAGES {
        for (key, value) in [
            ("parts", u64::from(parts)),
            ("steps", STEPS),
            ("checkpoint_every", STEPS),
            ("log_every", WARM_UP),
        ] {
            set.push(format!("{stage}.{key}={value}"));
        }
    }
    let mut command = ranks::mpirun();
    command
        .current_dir(places::root())
        .env("BLIP2_HOME", home)
        .env("RAYON_NUM_THREADS", "1")
        .env(launch::PURGE_DELAY, "1000")
        .stdout(output.try_clone()?)
        .stderr(output);
    for (number, core) in cores.iter().enumerate() {
        if number > 0 {
            command.arg(":");
        }
        command
            .args(["-n", "1", "taskset", "-c", &core.to_string()])
            .arg(program)
            .args(["pretrain", "--recipe", RECIPE, "--run"])
            .arg(&run)
            .args(set.iter().flat_map(|assignment| ["--set", assignment]));
    }
    let ending = process::run(&mut command, || ())?;
    ensure!(
        ending.is_success(),
        "training by {} processes: {ending}; what they said: {}",
        cores.len(),
        told.display()
    );
    Ok(run)
}

/// Between the first and the last line that `log` has of `stage` behind the warm-up.
fn seconds_a_step(log: &str, stage: &str) -> Result<f64> {
    let lines = log.lines().map(serde_json::from_str::<Value>);
    let lines = lines
        .collect::<Result<Vec<_>, _>>()
        .context("the log of the run is no JSON")?;
    let mut steps = lines.iter().filter_map(|line| {
        let of_stage = line["phase"] == stage && line.get("loss").is_some();
        let step = line["step"]
            .as_u64()
            .filter(|step| of_stage && *step >= WARM_UP)?;
        Some((step, line["seconds"].as_f64()?))
    });
    let first = steps.next();
    match first.zip(steps.next_back()) {
        Some(((first, since), (last, until))) => Ok((until - since) / (last - first) as f64),
        None => bail!("the log of the run has no two lines of {stage} from step {WARM_UP} on"),
    }
}

/// The cores that this process may use.
fn cores() -> Result<Vec<usize>> {
    let status =
        fs::read_to_string("/proc/self/status").context("only Linux says which cores a process may use")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    listed(list.context("the system does not say which cores this process may use")?)
}

/// The numbers of a list such as `0-2,5`.
fn listed(list: &str) -> Result<Vec<usize>> {
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            text.parse::<usize>()
                .with_context(|| format!("{list:?} is no list of cores"))
        };
        numbers.extend(number(first)?..=number(last)?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_timed_behind_the_warm_up_of_its_stage() {
        let line = |phase: &str, step: u64, seconds: f64| {
            json!({"phase": phase, "step": step, "seconds": seconds, "loss": 1.0}).to_string() + "\n"
        };
        let mut log = json!({"frozen": "before"}).to_string() + "\n";
        for (step, seconds) in [(1, 9.0), (3, 20.0), (9, 23.0), (15, 26.0)] {
            log += &line("stage1", step, seconds);
            log += &line("stage2", step, 10.0 * seconds);
        }
        assert_eq!(seconds_a_step(&log, "stage1").unwrap(), 0.5);
        assert_eq!(seconds_a_step(&log, "stage2").unwrap(), 5.0);
        let error = seconds_a_step(&log, "stage3").unwrap_err().to_string();
        assert!(error.contains("stage3"), "{error}");
        assert!(seconds_a_step(&line("stage1", 3, 1.0), "stage1").is_err());
        assert!(seconds_a_step("{", "stage1").is_err());
    }

    #[test]
    fn cores_are_listed_as_linux_does() {
        assert_eq!(listed("\t0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(listed("7").unwrap(), [7]);
        assert!(listed("0-").is_err());
    }

    #[test]
    fn the_recipe_can_be_cut_in_two_parts() {
        let recipe = fs::read_to_string(places::root().join(RECIPE)).expect("readable");
        let recipe: toml::Table = recipe.parse().expect("TOML");
        for stage in STAGES {
            let batch = recipe[stage]["batch"].as_integer().expect("a number");
            assert!(batch % 2 == 0, "{stage}: {batch}");
        }
    }
}
