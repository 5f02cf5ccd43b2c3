//! What launchers of many processes tell each of them: mpirun, srun, and those that go by torchrun's names.

use std::fmt;

/// A process that was started as one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who started it.
    pub launcher: &'static str,
    /// Which of them it is, from 0.
    pub rank: usize,
    /// How many there are, where the launcher says so.
    pub size: Option<usize>,
    /// Which of those on the same machine it is: the number of its device.
    pub local_rank: Option<usize>,
}

/// A variable of a launcher that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable}={value} of {launcher} is no number: this process cannot tell which rank it is")]
pub struct LaunchError {
    launcher: &'static str,
    variable: &'static str,
    value: String,
}

/// Launcher, and its variables for rank, size and rank on this machine. The first that is there counts: Open MPI's and PMI's
/// are set for the processes of a job alone, Slurm's also for a job's script, which has no step of several tasks.
const LAUNCHERS: [(&str, [&str; 3]); 5] = [
    (
        "Open MPI",
        [
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
        ],
    ),
    ("PMI", ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"]),
    ("Slurm", ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"]),
    ("PMIx", ["PMIX_RANK", "PMIX_SIZE", "PMIX_LOCAL_RANK"]),
    ("torchrun", ["RANK", "WORLD_SIZE", "LOCAL_RANK"]),
];

impl Launch {
    /// What the environment of this process says; nothing where it was started by itself.
    ///
    /// # Errors
    /// [`LaunchError`] where a variable holds no number.
    pub fn from_environment() -> Result<Option<Self>, LaunchError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same of variables that `lookup` knows.
    ///
    /// # Errors
    /// As for [`Launch::from_environment`].
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, LaunchError> {
        for (launcher, [rank, size, local_rank]) in LAUNCHERS {
            let number = |variable: &'static str| match lookup(variable) {
                None => Ok(None),
                Some(value) => match value.trim().parse() {
                    Ok(number) => Ok(Some(number)),
                    Err(_) => Err(LaunchError {
                        launcher,
                        variable,
                        value,
                    }),
                },
            };
            let (Some(rank), size) = (number(rank)?, number(size)?) else {
                continue;
            };
            // A rank without a number of ranks: Slurm's script, or whatever else a shell calls RANK.
            if size.is_none() && launcher != "PMIx" {
                continue;
            }
            return Ok(Some(Self {
                launcher,
                rank,
                size,
                local_rank: number(local_rank)?,
            }));
        }
        Ok(None)
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            Some(size) => write!(
                formatter,
                "{} started this process as rank {} of {size}",
                self.launcher, self.rank
            ),
            None => write!(
                formatter,
                "{} started this process as rank {}",
                self.launcher, self.rank
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Launch>, LaunchError> {
        Launch::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_launcher_is_known_by_its_variables() {
        assert_eq!(of(&[]), Ok(None));
        let slurm = [
            ("SLURM_PROCID", "3"),
            ("SLURM_STEP_NUM_TASKS", "16"),
            ("SLURM_LOCALID", "1"),
        ];
        let expected = Launch {
            launcher: "Slurm",
            rank: 3,
            size: Some(16),
            local_rank: Some(1),
        };
        assert_eq!(of(&slurm), Ok(Some(expected)));
        let both = [
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("OMPI_COMM_WORLD_RANK", "5"),
            ("OMPI_COMM_WORLD_SIZE", "8"),
        ];
        let launch = of(&both).expect("numbers").expect("a launch");
        assert_eq!(
            (launch.launcher, launch.rank, launch.size),
            ("Open MPI", 5, Some(8))
        );
        let torchrun = of(&[("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")]);
        assert_eq!(
            torchrun.expect("numbers").expect("a launch").to_string(),
            "torchrun started this process as rank 1 of 2"
        );
        let unsized_launch = of(&[("PMIX_RANK", "1")]).expect("a number").expect("a launch");
        assert_eq!((unsized_launch.rank, unsized_launch.size), (1, None));
    }

    #[test]
    fn a_script_that_slurm_runs_once_is_no_rank() {
        assert_eq!(of(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]), Ok(None));
        assert_eq!(of(&[("RANK", "1")]), Ok(None));
    }

    #[test]
    fn a_variable_that_is_no_number_is_named() {
        let error = of(&[("RANK", "first"), ("WORLD_SIZE", "2")]).expect_err("no number");
        assert!(error.to_string().contains("RANK=first"), "{error}");
    }
}
