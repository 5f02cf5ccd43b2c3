//! The few ways in which text becomes HTML.

/// `text` so that it reads the same between tags and within quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A section of the page, `note` below its heading; nothing for an empty `body`.
pub(crate) fn section(heading: &str, note: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n{body}</section>\n",
        escape(heading),
        escape(note)
    )
}

/// The items that share a key, in groups that stand in the order in which their keys first occur.
pub(crate) fn groups<'a, Item, Key: PartialEq>(
    items: &'a [Item],
    key: impl Fn(&'a Item) -> Key,
) -> Vec<(Key, Vec<&'a Item>)> {
    let mut groups: Vec<(Key, Vec<&Item>)> = Vec::new();
    for item in items {
        let key = key(item);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// A number with four digits that count.
pub(crate) fn figure(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let magnitude = number.abs().log10().floor() as i32;
    if !(-4..=6).contains(&magnitude) {
        return format!("{number:.2e}");
    }
    format!("{number:.*}", (3 - magnitude).max(0) as usize)
}

/// Several pieces one after the other.
pub(crate) fn joined<Piece: AsRef<str>>(pieces: impl Iterator<Item = Piece>) -> String {
    pieces.fold(String::new(), |mut all, piece| {
        all.push_str(piece.as_ref());
        all
    })
}
