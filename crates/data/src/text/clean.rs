//! LAVIS's `blip_caption` and `blip_question` processors.

/// How many words of a caption or question are kept.
pub const MAX_WORDS: usize = 50;
/// Characters that a caption replaces by a space and a question drops. `?`, `,` and `'` stay.
const REMOVED: [char; 10] = ['.', '!', '"', '(', ')', '*', '#', ':', ';', '~'];

/// Cleans a caption: lower case, punctuation to spaces, runs of white space to one space, the first [`MAX_WORDS`]
/// words; then `prompt` is put in front, as it is.
pub fn caption(text: &str, prompt: &str) -> String {
    let spaced: String = text
        .to_lowercase()
        .chars()
        .map(|letter| if REMOVED.contains(&letter) { ' ' } else { letter })
        .collect();
    let single = collapse_white_space(&spaced);
    let trimmed = single.trim_end_matches('\n').trim_matches(' ');
    format!("{prompt}{}", first_words(trimmed))
}

/// Cleans a question: lower case, punctuation dropped, the first [`MAX_WORDS`] words.
pub fn question(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|letter| !REMOVED.contains(letter))
        .collect();
    first_words(kept.trim_end_matches(' '))
}

/// Two or more white characters become one space; one alone stays what it is, a tab or line break included.
fn collapse_white_space(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut run = 1;
        while is_white(letter) && letters.next_if(|next| is_white(*next)).is_some() {
            run += 1;
        }
        collapsed.push(if run > 1 { ' ' } else { letter });
    }
    collapsed
}

/// Python's `\s`, which counts the four ASCII separators as white and Rust does not.
fn is_white(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

fn first_words(text: &str) -> String {
    text.split(' ').take(MAX_WORDS).collect::<Vec<_>>().join(" ")
}
