//! Captions cut into words as the COCO caption scorer cuts them: the Penn Treebank's tokens (Marcus et al. 1993) in
//! lower case, without punctuation. Written from what the scorer's tokeniser (Stanford's, 3.4.1) was seen to do, not
//! from its source: `tests/main/tokenise.rs` holds pairs of text and tokens that it gave.

mod rule;
mod rules;

use std::sync::LazyLock;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::{Anchored, Input, MatchKind};

use rule::Rule;

/// Tokens that the scorer drops, and what a soft hyphen leaves of itself. The scorer lists brackets too, but in capitals:
/// it never meets them.
const DROPPED: [&str; 14] = [
    "", "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";",
];

/// Every caption as its tokens, one blank apart.
///
/// The captions are read as one text, a line each, because a period belongs to a single letter before it or ends the
/// sentence according to the word that follows, be that the next caption's first. So ask for all references at once, and
/// for all candidates at once, in the order of the images, to get what the scorer gets.
pub fn tokenise<Text: AsRef<str>>(captions: &[Text]) -> Vec<String> {
    static LEXER: LazyLock<Lexer> = LazyLock::new(Lexer::new);
    let mut text = String::new();
    let mut ends = Vec::with_capacity(captions.len());
    for caption in captions {
        text.push_str(caption.as_ref());
        ends.push(text.len());
        text.push('\n');
    }
    let mut lines = vec![String::new(); captions.len()];
    let mut line = 0;
    LEXER.read(&text, |start, token| {
        while start > ends[line] {
            line += 1;
        }
        let tokens: &mut String = &mut lines[line];
        if !tokens.is_empty() {
            tokens.push(' ');
        }
        tokens.push_str(&token);
    });
    lines
}

/// The rules as one automaton.
struct Lexer {
    rules: Vec<Rule>,
    automaton: DFA,
}

impl Lexer {
    fn new() -> Self {
        let rules = rules::rules();
        let patterns: Vec<&str> = rules.iter().map(|rule| rule.pattern.as_str()).collect();
        let automaton = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All))
            .build_many(&patterns)
            .expect("the rules are constants, and the tests build them");
        Self { rules, automaton }
    }

    /// Gives `take` where each token that is not dropped starts, and the token. At every place the rule that reaches
    /// furthest applies, the first in the table among equals.
    fn read(&self, text: &str, mut take: impl FnMut(usize, String)) {
        let mut cache = self.automaton.create_cache();
        let mut start = 0;
        while start < text.len() {
            let Some((rule, end)) = self.longest(&mut cache, text, start) else {
                // A letter that the tokeniser does not know parts words and leaves no trace.
                start += text[start..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let found = rule.keep.of(&text[start..end]);
            match rule.becomes.token(found) {
                Some(token) if !DROPPED.contains(&token.as_str()) => take(start, token),
                _ => {}
            }
            start += found.len();
        }
    }

    fn longest(&self, cache: &mut Cache, text: &str, start: usize) -> Option<(&Rule, usize)> {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let found = self
            .automaton
            .try_search_fwd(cache, &input)
            .expect("no rule looks at word borders, and the cache may be cleared as often as it fills")?;
        Some((&self.rules[found.pattern().as_usize()], found.offset()))
    }
}
