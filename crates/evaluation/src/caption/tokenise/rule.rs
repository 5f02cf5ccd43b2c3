//! A rule of the tokeniser: what a token looks like, and what becomes of it.

/// A token's shape, and what becomes of it.
pub(super) struct Rule {
    pub(super) pattern: String,
    pub(super) keep: Keep,
    pub(super) becomes: Becomes,
}

/// How much of what a pattern reached is the token; the rest is read again.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    /// All.
    All,
    /// The first few letters.
    First(usize),
    /// All but the last few letters.
    ButLast(usize),
    /// Up to the first period and with it.
    ThroughPeriod,
}

/// What stands in the text for the token.
#[derive(Clone, Copy)]
pub(super) enum Becomes {
    /// The token in lower case, some letters of it written in another way.
    Itself,
    /// Something else.
    Fixed(&'static str),
    /// As [`Becomes::Itself`], in the typewriter's quotation marks.
    Straight,
    /// As [`Becomes::Itself`], round brackets spelled out.
    Bracketed,
    /// Nothing.
    Nothing,
}

impl Rule {
    pub(super) fn keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    pub(super) fn becomes(self, becomes: Becomes) -> Self {
        Self { becomes, ..self }
    }
}

impl Keep {
    pub(super) fn of(self, found: &str) -> &str {
        let letters = |count: usize| found.char_indices().nth(count).map_or(found.len(), |(at, _)| at);
        match self {
            Self::All => found,
            Self::First(count) => &found[..letters(count)],
            Self::ButLast(count) => &found[..letters(found.chars().count().saturating_sub(count))],
            Self::ThroughPeriod => found.split_inclusive('.').next().unwrap_or(found),
        }
    }
}

impl Becomes {
    pub(super) fn token(self, found: &str) -> Option<String> {
        match self {
            Self::Itself => Some(respelled(found)),
            Self::Straight => Some(straight(&respelled(found))),
            Self::Bracketed => Some(respelled(found).replace('(', "-lrb-").replace(')', "-rrb-")),
            Self::Fixed(token) => Some(token.to_owned()),
            Self::Nothing => None,
        }
    }
}

/// Blanks inside of a token do not part it; soft hyphens vanish; ampersands may be written as in HTML.
fn respelled(token: &str) -> String {
    let mut spelled = String::with_capacity(token.len());
    for letter in token.chars() {
        match letter {
            '\u{ad}' => {}
            letter if letter.is_whitespace() => spelled.push('\u{a0}'),
            letter => spelled.extend(letter.to_lowercase()),
        }
    }
    spelled.replace("&amp;", "&")
}

fn straight(token: &str) -> String {
    token
        .replace(['‘', '‛', '‹'], "`")
        .replace(['’', '›', '\u{92}'], "'")
        .replace(['“', '«'], "``")
        .replace(['”', '»'], "''")
}
