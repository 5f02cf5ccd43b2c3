//! The kernels that one run of the golden tests is held to: results are not to depend on them.

use std::process::Command;

use crate::unit::{KERNELS, Unit};

/// Which kernels run.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kernels {
    /// What the environment says, else the best.
    AsTheyAre,
    /// Those for one unit.
    Of(Unit),
    /// Those for the tile registers of AMX, also where those are not worth it.
    Tiles,
    /// None: the definitions.
    Composed,
}

impl Kernels {
    /// All that this machine can run.
    pub(super) fn every() -> Vec<Self> {
        let units: Vec<Unit> = Unit::present().collect();
        let tiles = units.contains(&Unit::Amx).then_some(Self::Tiles);
        let units = units.into_iter().map(Self::Of);
        units.chain(tiles).chain([Self::Composed]).collect()
    }

    /// As what is compared with them is named, and the files of their run.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::AsTheyAre => None,
            Self::Of(unit) => Some(unit.name()),
            Self::Tiles => Some("tiles"),
            Self::Composed => Some("composed"),
        }
    }

    /// Holds a process to them.
    pub(super) fn hold(self, command: &mut Command) {
        match self {
            Self::AsTheyAre => {}
            Self::Of(unit) => unit.hold_ours(command),
            Self::Tiles => {
                command.env(KERNELS, "tiles");
            }
            Self::Composed => {
                command.env(KERNELS, "composed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_name_of_its_own_and_the_definitions_come_last() {
        let every = Kernels::every();
        let mut names: Vec<&str> = every.iter().filter_map(|kernels| kernels.name()).collect();
        assert_eq!(names.last(), Some(&"composed"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), every.len());
    }

    #[test]
    fn a_run_is_told_its_kernels_whatever_the_environment_says() {
        let told = |kernels: Kernels| {
            let mut command = Command::new("none");
            kernels.hold(&mut command);
            let told = command.get_envs().next();
            told.map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        };
        assert_eq!(told(Kernels::AsTheyAre), None);
        assert_eq!(
            told(Kernels::Composed),
            Some((KERNELS.into(), Some("composed".into())))
        );
        assert_eq!(
            told(Kernels::Of(Unit::Avx2)),
            Some((KERNELS.into(), Some("avx2".into())))
        );
        assert_eq!(told(Kernels::Of(Unit::Amx)), Some((KERNELS.into(), None)));
    }
}
