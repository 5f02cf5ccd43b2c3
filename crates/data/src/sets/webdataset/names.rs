//! What the name of a member says: its sample, its extension, whether it is a member at all. Rules of webdataset's
//! `base_plus_ext` and `tar_file_iterator`.

/// Key and extension: the extension begins at the first dot of the file's own name, the folders belong to the key. `None`
/// for what belongs to no sample: names without extension, and hidden files.
///
/// As in webdataset, a hidden file in a folder without a dot is taken for a member of a sample that is called as the folder.
pub(super) fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let own = name
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let dot = own + name[own..].iter().position(|byte| *byte == b'.')?;
    let key = &name[..dot];
    let folder = key.strip_suffix(b"/").unwrap_or_default();
    let is_hidden_in_nothing = dot == own
        && (key.is_empty()
            || folder
                .rsplit(|byte| *byte == b'/')
                .next()
                .unwrap_or_default()
                .contains(&b'.'));
    (!is_hidden_in_nothing).then(|| (key, &name[dot + 1..]))
}

/// Whether it tells about the shard, not about a sample: its first folder, or the name itself, is `__like_this__`.
pub(super) fn is_about_shard(name: &[u8]) -> bool {
    let first = name.split(|byte| *byte == b'/').next().unwrap_or_default();
    first.len() >= 4 && first.starts_with(b"__") && first.ends_with(b"__")
}

/// Whether the name is absolute or leaves the folder that the archive would be unpacked in. Nothing is ever opened by such a
/// name; that somebody wrote it is reason enough not to learn from it.
pub(super) fn is_unsafe(name: &[u8]) -> bool {
    let mut depth = 0;
    name.starts_with(b"/")
        || name.split(|byte| *byte == b'/').any(|part| {
            match part {
                b"" | b"." => {}
                b".." => depth -= 1,
                _ => depth += 1,
            }
            depth < 0
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str) -> Option<(String, String)> {
        let (key, extension) = split(name.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("cut at a dot");
        Some((text(key), text(extension)))
    }

    /// Each as `webdataset.tariterators.base_plus_ext` (1.0.2) gives it.
    #[test]
    fn names_are_cut_as_webdataset_cuts_them() {
        let cases = [
            ("a.jpg", Some(("a", "jpg"))),
            ("v1.2/in.a/one.jpg", Some(("v1.2/in.a/one", "jpg"))),
            ("a.b/c.d.e.png", Some(("a.b/c", "d.e.png"))),
            ("x..jpg", Some(("x", ".jpg"))),
            ("./f00.txt", Some(("./f00", "txt"))),
            ("README", None),
            ("a.b/c", None),
            (".hidden.txt", None),
            ("./.hidden.txt", None),
            ("a.b/.hidden.txt", None),
            ("sub/.hidden.txt", Some(("sub/", "hidden.txt"))),
            ("x.y/sub/._f.jpg", Some(("x.y/sub/", "_f.jpg"))),
            ("..jpg", None),
            ("a/..jpg", Some(("a/", ".jpg"))),
            ("a//.jpg", Some(("a//", "jpg"))),
            ("/a.jpg", Some(("/a", "jpg"))),
            ("/.jpg", Some(("/", "jpg"))),
            ("x.y//.jpg", Some(("x.y//", "jpg"))),
            ("", None),
            ("a.", Some(("a", ""))),
        ];
        for (name, expected) in cases {
            let expected = expected.map(|(key, extension)| (key.to_owned(), extension.to_owned()));
            assert_eq!(parts(name), expected, "{name}");
        }
    }

    #[test]
    fn notes_about_the_shard_are_told_from_samples() {
        for name in ["__meta__", "__meta__/x.json", "____", "__a__b__/c"] {
            assert!(is_about_shard(name.as_bytes()), "{name}");
        }
        for name in ["__info__.json", "___", "a/__meta__", "./__meta__", "__a/b__"] {
            assert!(!is_about_shard(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_that_leave_the_folder_are_unsafe() {
        for name in ["../a", "/a", "a/../../b", "./../x", ".."] {
            assert!(is_unsafe(name.as_bytes()), "{name}");
        }
        for name in ["a/../b", "..a", "..\\a", "a..b/c", "./a", "a//b", ""] {
            assert!(!is_unsafe(name.as_bytes()), "{name}");
        }
    }
}
