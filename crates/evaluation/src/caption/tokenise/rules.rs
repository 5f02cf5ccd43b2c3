//! The table of what is one token. Patterns know no look-ahead: a rule whose token depends on what follows matches that
//! too, and keeps less.

use super::rule::{Becomes, Keep, Rule};

/// Letters, and the signs above and below them. The original knows no letter beyond the first plane.
const LETTER: &str = r"[[\p{L}[\p{M}&&[\u{300}-\u{ECD}]]\u{2C2}-\u{2DF}\u{AD}]&&[\u{0}-\u{FFFF}]]";
const DIGIT: &str = r"[\p{Nd}&&[\u{0}-\u{FFFF}]]";
const LETTER_OR_DIGIT: &str =
    r"[[\p{L}\p{Nd}[\p{M}&&[\u{300}-\u{ECD}]]\u{2C2}-\u{2DF}\u{AD}]&&[\u{0}-\u{FFFF}]]";

const APOSTROPHE: &str = r"['’\u{92}]";
const INNER_APOSTROPHE: &str = r"['’`\u{92}]";
const HYPHEN: &str = r"[-_\u{58A}\u{2010}\u{2011}]";

/// Abbreviations that keep their period, in any spelling of their case.
const ABBREVIATIONS: &str = "\
    (?i:adj|adm|adv|alex|assoc|asst|atty|attys|ave|brig|capt|cf|cie|cmdr|col|comdr|cpl|dept|det|dr|drs|\
    elec|ens|ft|gen|gov|govs|hon|insp|invt|jos|lieut|lt|maj|messrs|mlle|mme|mr|mrs|ms|msgr|mt|natl|pfc|\
    ph|pres|prof|profs|pvt|rep|reps|rev|sen|sens|sfc|sgt|spc|st|ste|supt|supts|treas|vs|wm)|[Mm][ft]g";
/// Likewise; these also end sentences.
const LAST_ABBREVIATIONS: &str = "\
    (?i:al|ala|apr|ariz|assn|aug|bhd|bldg|blvd|bros|calif|co|colo|conn|corp|cos|ct|dak|dec|esq|est|etc|\
    ext|feb|fla|fri|ga|inc|ind|intl|jan|jr|jul|jun|kan|kans|ky|ltd|mar|md|mich|minn|mo|mon|mont|neb|nev|\
    nov|oct|okla|penn|ph\\.d|plc|rd|rt|sep|sept|seq|sq|sr|sys|tel|tenn|thu|thurs|tue|tues|univ|va|vt|\
    wed|wis|wisc|wyo)|[Pp]p?t[ey]s?|A(?i:rk|z)|D(?i:el)|I(?i:ll)|L(?i:a)|M(?i:ass|iss)|O(?i:re)|P(?i:a)|\
    T(?i:ex)|W(?i:ash)";
/// Likewise, before a number.
const NUMBERED_ABBREVIATIONS: &str = "(?i:art|ca|figs?|nos?|op|pp|prop)";
/// Letters with a period each.
const ACRONYM: &str = r"[A-Za-z](\.[A-Za-z])+\.";
/// Words that begin a sentence: before them, the period after a single letter is not its own.
const SENTENCE_STARTS: &str = "\
    A(?i:|bout|ccording|dditionally|fter|n|s|t)|B(?i:ut)|E(?i:arlier)|H(?i:e|er|ere|owever)|I(?i:f|n|t)|\
    L(?i:ast)|M(?i:any|ore|[rs]\\.)|N(?i:ow)|O(?i:nce|ne|ther|ur)|S(?i:he|ince|o|ome|uch)|T(?i:hat|he|\
    heir|hen|here|hese|hey|his)|W(?i:e|hat|hen|hile)|Y(?i:et|ou)";

/// In an address on the net.
const ADDRESS_END: &str = r#"[^\s\u{A0}"<>|(){}.!?,-]"#;
const TOP_DOMAIN: &str = "(?i:com|net|org|edu)";
const MAIL: &str = r#"[^\s\u{A0}"<>|(){}]"#;
const MAIL_LABEL: &str = r#"[^\s\u{A0}"<>|(){}.]"#;

/// Signs that are a token each.
const SIGN: &str = "\
    [$%&+;=\\\\^|~/@.,:¡¥-©¬®-±´¶-¸¿×÷\u{37E}\u{387}\u{589}\u{5BE}\u{5C0}\u{5C3}\u{5C6}\u{5F3}-\u{603}\
    \u{606}-\u{60C}\u{614}\u{61B}\u{61E}\u{61F}\u{66A}\u{66D}\u{6D4}\u{700}-\u{70D}\u{7F6}-\u{7F8}\
    \u{964}\u{965}\u{E3F}\u{E4F}\u{1FBD}\u{2016}\u{2017}\u{2020}-\u{2023}\u{2030}-\u{2038}\u{203B}\
    \u{203E}-\u{2042}\u{207A}-\u{207E}\u{208A}-\u{208E}\u{20A4}\u{2100}\u{2101}\u{2103}-\u{2106}\u{2108}\
    \u{2109}\u{2114}\u{2116}-\u{2118}\u{211E}-\u{2123}\u{2125}\u{2127}\u{2129}\u{212E}\u{213A}\u{213B}\
    \u{2140}-\u{2144}\u{214A}-\u{214D}\u{214F}\u{2155}-\u{215E}\u{2190}-\u{2BFF}\u{3001}\u{3002}\u{3012}\
    \u{30FB}\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF20}\u{FF3B}-\u{FF40}\u{FF5B}-\u{FF65}\u{FFE0}\u{FFE1}\u{FFE5}\
    \u{FFE6}]";

/// All rules; of two that reach equally far the first applies.
pub(super) fn rules() -> Vec<Rule> {
    let groups = [
        split_words(),
        addresses(),
        markup(),
        periods(),
        numbers(),
        apostrophes(),
        words(),
        faces(),
        signs(),
    ];
    groups.into_iter().flatten().collect()
}

/// What the pattern matches is a token.
fn token(pattern: impl Into<String>) -> Rule {
    Rule {
        pattern: pattern.into(),
        keep: Keep::All,
        becomes: Becomes::Itself,
    }
}

/// Words that are two tokens.
fn split_words() -> Vec<Rule> {
    vec![
        token("(?i:cannot|gimme|gonna|gotta|lemme|wanna)").keep(Keep::First(3)),
        token(format!("{APOSTROPHE}(?i:tis|twas)")).keep(Keep::First(2)),
        token(format!("{LETTER_OR_DIGIT}*[{LETTER}--[nN]][nN]{APOSTROPHE}[tT]")).keep(Keep::ButLast(3)),
    ]
}

/// Web and mail addresses, user names and hash tags.
fn addresses() -> Vec<Rule> {
    let path = format!(r#"/[^\s\u{{A0}}"<>|()]+{ADDRESS_END}"#);
    vec![
        token(format!(r#"(?i:https?)://[^\s\u{{A0}}"<>|(){{}}]+{ADDRESS_END}"#)),
        token(format!(
            r#"(?i:www)\.([^\s\u{{A0}}"<>|(){{}}.,]+\.)+{TOP_DOMAIN}({path})?"#
        )),
        token(format!(
            r#"([^\s\u{{A0}}"`'<>|(){{}}.,\-!?@$/:;=\[\]\\^_]+\.)+{TOP_DOMAIN}({path})?"#
        )),
        token(format!("<?[A-Za-z0-9]{MAIL}*@({MAIL_LABEL}+\\.)*{MAIL_LABEL}+>?")),
        token("@[a-zA-Z_][a-zA-Z0-9_]*"),
        token(format!("#{LETTER}+")),
    ]
}

/// Tags and entities of HTML.
fn markup() -> Vec<Rule> {
    let name = "[A-Za-z][A-Za-z0-9_.:-]*";
    let value = r#" *= *("[^"\n]*"|'[^'\n]*')"#;
    vec![
        token(format!(r"<{name}( +{name}({value})?)* */?>")),
        token(format!(r"</{name}>")),
        token(r"<[!?][A-Za-z-][^>\n]*>"),
        token("(?i:&amp;)").becomes(Becomes::Fixed("&")),
        token("(?i:&lt;)").becomes(Becomes::Fixed("<")),
        token("(?i:&gt;)").becomes(Becomes::Fixed(">")),
        token("(?i:&nbsp;|&quot;|&apos;|&[mn]dash;|&md;)").becomes(Becomes::Nothing),
        token("&(#[0-9]+|[aeiouAEIOU](acute|grave|uml)|HT|TL|UR|LR|Q[CLR]|[oc]dq);"),
    ]
}

/// What keeps a period.
fn periods() -> Vec<Rule> {
    vec![
        token(format!(r"[A-Za-z]\.\s+({SENTENCE_STARTS})\s")).keep(Keep::First(1)),
        token(ACRONYM),
        token(r"[A-Za-z]\."),
        token(format!(r"({ABBREVIATIONS}|{LAST_ABBREVIATIONS})\.")),
        token(format!(r"({LAST_ABBREVIATIONS})\.-[A-Za-z0-9]")).keep(Keep::ThroughPeriod),
        token(format!(r"{NUMBERED_ABBREVIATIONS}\.\s?{DIGIT}")).keep(Keep::ThroughPeriod),
    ]
}

/// Numbers, fractions, telephone numbers.
fn numbers() -> Vec<Rule> {
    let gap = "[- \u{A0}]";
    let area = format!("{DIGIT}{{2,4}}");
    let region = format!(r"(\+?{area}{gap}?)");
    vec![
        token(format!("[+-]?{DIGIT}*([.:,٫٬]{DIGIT}+)+|[+-]?{DIGIT}+")),
        token(format!("({DIGIT}{{1,4}}{gap})?{DIGIT}{{1,4}}[/⁄]{DIGIT}{{1,4}}")),
        token(format!("{DIGIT}{{1,2}}[-/]{DIGIT}{{1,2}}[-/]{DIGIT}{{2,4}}")),
        token(format!(
            r"({region}?({area}|\({DIGIT}{{2,3}}\)){gap}?|\+{area}{gap}?){DIGIT}{{3,4}}{gap}?{DIGIT}{{3,5}}"
        ))
        .becomes(Becomes::Bracketed),
        token("½").becomes(Becomes::Fixed("1/2")),
        token("¼").becomes(Becomes::Fixed("1/4")),
        token("¾").becomes(Becomes::Fixed("3/4")),
        token("⅓").becomes(Becomes::Fixed("1/3")),
        token("⅔").becomes(Becomes::Fixed("2/3")),
        token("[²³¹⁰⁴-⁹]+|[₀-₉]+"),
    ]
}

/// Contractions, possessives, and words with an apostrophe inside.
fn apostrophes() -> Vec<Rule> {
    vec![
        token(format!("{APOSTROPHE}[nN]{APOSTROPHE}")),
        token("[’\u{92}](?i:s|d|m|re|ve|ll)").becomes(Becomes::Straight),
        token(format!("{APOSTROPHE}(?i:s|d|m|n|re|ve|ll)[^A-Za-z]"))
            .keep(Keep::ButLast(1))
            .becomes(Becomes::Straight),
        token(format!("(?i:n{APOSTROPHE}t)")).becomes(Becomes::Straight),
        token(format!("{APOSTROPHE}(?i:em|till?|cause)")),
        token(format!("{APOSTROPHE}{DIGIT}{DIGIT}s")),
        token(format!("{APOSTROPHE}{DIGIT}{DIGIT}\\s")).keep(Keep::ButLast(1)),
        token(format!("[yY]{APOSTROPHE}{LETTER}")).keep(Keep::First(2)),
        token(format!("([dDjJlL]|(?i:ol)){APOSTROPHE}")),
        token(format!(
            "{LETTER}+[aeiouyAEIOUY]{INNER_APOSTROPHE}[aeiouAEIOU]{LETTER}*"
        )),
        token(format!(
            "(?i:[en]?e{APOSTROPHE}er|cap{APOSTROPHE}n|s{APOSTROPHE}mores|nor{APOSTROPHE}easter)"
        )),
        token(format!("(?i:c{APOSTROPHE}mon|nat{APOSTROPHE}l|ev{APOSTROPHE}ry)")),
    ]
}

/// Words, and words joined by hyphens, slashes, periods and other signs.
fn words() -> Vec<Rule> {
    let joint = format!("({LETTER_OR_DIGIT}+|[A-HJ-XZdlno]{INNER_APOSTROPHE}{LETTER}{LETTER}+)");
    let joined = format!("{joint}({HYPHEN}{joint})*");
    let dotted = format!("{LETTER}{LETTER_OR_DIGIT}*([.!?]{LETTER}{LETTER_OR_DIGIT}*)+");
    let compound = format!("[A-Za-z0-9][A-Za-z0-9.,]*(-([A-Za-z0-9]+|{ACRONYM}))+");
    let slashed = "[A-Za-z0-9]+(-[A-Za-z]+){0,2}";
    vec![
        token(compound.clone()),
        token(joined.clone()),
        token(dotted.clone()),
        token(format!(r"({compound}|{joined}|{dotted})\.[,;:]")).keep(Keep::ButLast(1)),
        token(format!("{slashed}(/{slashed}){{1,2}}")),
        token("[A-Z]+((&|(?i:&amp;)|[+])[A-Z]+)+"),
        token(r"(?i:c\+\+|[cf]#)"),
        token(r"[A-Z]{1,3}\$"),
    ]
}

/// Faces made of signs.
fn faces() -> Vec<Rule> {
    let eye = "['x<>=^~-]";
    let face = r"[<>]?[:;=]['*o-]?";
    vec![
        token(format!(r"{face}[(){{\[\]dDpPO|\\@][^A-Za-z0-9]"))
            .keep(Keep::ButLast(1))
            .becomes(Becomes::Bracketed),
        token(format!("{eye}_{eye}")),
        token(format!(r"\({eye}[-_.]?{eye}\)")).becomes(Becomes::Bracketed),
    ]
}

/// Everything else that the tokeniser knows.
fn signs() -> Vec<Rule> {
    vec![
        token(r"[\s\u{A0}]+").becomes(Becomes::Nothing),
        token("\"|''?|``?|[‘’‛“”«»‹›]").becomes(Becomes::Nothing),
        token("[`‘’‛“”«»‹›]{2}").becomes(Becomes::Straight),
        token(r"\(").becomes(Becomes::Fixed("-lrb-")),
        token(r"\)").becomes(Becomes::Fixed("-rrb-")),
        token(r"\[").becomes(Becomes::Fixed("-lsb-")),
        token(r"\]").becomes(Becomes::Fixed("-rsb-")),
        token(r"\{").becomes(Becomes::Fixed("-lcb-")),
        token(r"\}").becomes(Becomes::Fixed("-rcb-")),
        token("¢").becomes(Becomes::Fixed("cents")),
        token("£").becomes(Becomes::Fixed("#")),
        token("[€¤₠]").becomes(Becomes::Fixed("$")),
        token(r"[–—―…]|\.{3,}").becomes(Becomes::Nothing),
        token("-{1,4}").becomes(Becomes::Nothing),
        token("-{5,}|_+|#+|@+|[!?]+|<<|>>|<|>|‚+|‟+"),
        token(r"\\?\*+"),
        token(SIGN),
    ]
}
