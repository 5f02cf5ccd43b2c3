//! What the environment says of the hub, read as `huggingface_hub` 2.4 reads it.

use std::ffi::OsString;
use std::path::PathBuf;
#[cfg(feature = "download")]
use std::time::Duration;

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

    #[cfg(feature = "download")]
    fn text(&self, name: &str) -> Option<String> {
        let value = self.set(name)?.into_string().ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    #[cfg(feature = "download")]
    fn is_true(&self, name: &str) -> bool {
        let value = self.text(name).unwrap_or_default().to_uppercase();
        ["1", "ON", "YES", "TRUE"].contains(&&*value)
    }
}

/// What only fetching asks for.
#[cfg(feature = "download")]
impl Environment<'_> {
    /// Where the hub answers: `$HF_ENDPOINT`, without a slash at the end.
    pub(crate) fn endpoint(&self) -> String {
        let endpoint = self.text("HF_ENDPOINT");
        let endpoint = endpoint.as_deref().unwrap_or("https://huggingface.co");
        endpoint.trim_end_matches('/').to_owned()
    }

    /// What names the user to the hub: `$HF_TOKEN`, else by its old name `$HUGGING_FACE_HUB_TOKEN`, else what the file
    /// `$HF_TOKEN_PATH`, or `token` in the folder of the Hugging Face libraries, holds.
    pub(crate) fn token(&self) -> Option<String> {
        if self.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let file = || {
            let file = self
                .path("HF_TOKEN_PATH")
                .or_else(|| Some(self.home()?.join("token")))?;
            let token = std::fs::read_to_string(file).ok()?;
            Some(token.trim().to_owned()).filter(|token| !token.is_empty())
        };
        self.text("HF_TOKEN")
            .or_else(|| self.text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(file)
    }

    /// Whether the hub must not be asked.
    pub(crate) fn offline(&self) -> bool {
        match self.text("HF_HUB_OFFLINE") {
            Some(_) => self.is_true("HF_HUB_OFFLINE"),
            None => self.is_true("TRANSFORMERS_OFFLINE"),
        }
    }

    /// How long a transfer may bring nothing, in seconds: `$HF_HUB_DOWNLOAD_TIMEOUT`.
    pub(crate) fn download_timeout(&self) -> Option<Duration> {
        let seconds = self.text("HF_HUB_DOWNLOAD_TIMEOUT")?.parse().ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
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
