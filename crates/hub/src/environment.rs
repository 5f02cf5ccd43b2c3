//! What the environment says of the hub, read as `huggingface_hub` 2.4 reads it.

use std::ffi::OsString;
use std::path::PathBuf;

/// The variables of a process; in tests, others.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Environment<'static> {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            variable: &|name| std::env::var_os(name),
        }
    }
}

impl<'a> Environment<'a> {
    #[cfg(test)]
    pub(crate) fn of(variable: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { variable }
    }

    /// A variable that is set and not empty.
    fn set(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The same as a path, with `~`, `$NAME` and `${NAME}` replaced by what they stand for.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let variable = |name: &str| self.set(name)?.into_string().ok();
        let home = || variable("HOME").or_else(|| std::env::home_dir()?.into_os_string().into_string().ok());
        Some(match self.set(name)?.into_string() {
            Ok(text) => {
                PathBuf::from(shellexpand::full_with_context_no_errors(&text, home, variable).into_owned())
            }
            // What is no text holds nothing that could be replaced.
            Err(raw) => PathBuf::from(raw),
        })
    }

    /// The folder of all that the Hugging Face libraries keep: `$HF_HOME`, else `huggingface` in the user's cache folder.
    fn home(&self) -> Option<PathBuf> {
        let user = || {
            self.path("XDG_CACHE_HOME")
                .or_else(|| Some(self.path("HOME")?.join(".cache")))
        };
        self.path("HF_HOME").or_else(|| Some(user()?.join("huggingface")))
    }

    /// The folder that models are cached in: `$HF_HUB_CACHE`, else by its old name `$HUGGINGFACE_HUB_CACHE`, else `hub` in
    /// the folder above.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.path("HF_HUB_CACHE")
            .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(self.home()?.join("hub")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let cache = Environment::of(&variable).cache()?;
        Some(cache.display().to_string())
    }

    #[test]
    fn the_cache_is_where_the_reference_looks_for_it() {
        const HOME: (&str, &str) = ("HOME", "/ada");
        for (variables, expected) in [
            (&[HOME] as &[_], "/ada/.cache/huggingface/hub"),
            (&[HOME, ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[HOME, ("XDG_CACHE_HOME", "~/x")], "/ada/x/huggingface/hub"),
            (&[HOME, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[HOME, ("HF_HOME", "~/.hf")], "/ada/.hf/hub"),
            (&[HOME, ("HF_HOME", "$HOME/.hf")], "/ada/.hf/hub"),
            (&[HOME, ("HF_HOME", "${HOME}/.hf")], "/ada/.hf/hub"),
            (&[HOME, ("HF_HOME", "$ABSENT/h")], "$ABSENT/h/hub"),
            (&[HOME, ("HF_HOME", "")], "/ada/.cache/huggingface/hub"),
            (
                &[HOME, ("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "~/old")],
                "/ada/old",
            ),
            (
                &[HOME, ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "~/new")],
                "/ada/new",
            ),
            (
                &[HOME, ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "")],
                "/old",
            ),
        ] {
            assert_eq!(cache(variables).as_deref(), Some(expected), "{variables:?}");
        }
        assert_eq!(cache(&[]), None);
    }
}
