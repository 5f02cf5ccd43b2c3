//! Base forms of answers, as OK-VQA's are given: "surfing" is "surf", "dogs" is "dog".
//!
//! LAVIS asks spaCy's tagger which words are nouns or verbs and takes their lemmas. Here rules of English spelling decide, with
//! the words that do not follow them in a list: plurals lose their ending; of words in -ing and -ed those are verbs whose stem
//! has a vowel and that are not listed as nouns or adjectives. `docs/evaluation.md` says how often the two differ.

/// Words whose base form no rule gives, with it.
const IRREGULAR: &str = "\
    am:be are:be ate:eat axes:axe been:be being:be biking:bike bitten:bite blew:blow bought:buy \
    broken:break brought:bring built:build buses:bus cacti:cactus calves:calf canoes:canoe caught:catch \
    children:child cookies:cookie cutting:cut dice:die did:do does:do done:do drawn:draw driven:drive \
    drove:drive dying:die eaten:eat elves:elf feet:foot fell:fall flew:fly flown:fly focused:focus \
    focusing:focus gases:gas gave:give geese:goose given:give goes:go gone:go grew:grow grown:grow had:have \
    halves:half has:have having:have held:hold hiking:hike hitting:hit hoodies:hoodie hung:hang is:be \
    kept:keep knives:knife leaves:leaf lives:life loaves:loaf lying:lie made:make men:man mice:mouse \
    movies:movie pies:pie ran:run ridden:ride rode:ride sat:sit scarves:scarf seen:see selfies:selfie \
    shelves:shelf shoes:shoe shown:show skies:sky skiing:ski slept:sleep sold:sell stood:stand swam:swim \
    taken:take taught:teach teeth:tooth thieves:thief threw:throw thrown:throw ties:tie toes:toe took:take \
    tying:tie used:use using:use was:be went:go were:be wives:wife wolves:wolf women:woman wore:wear \
    worn:wear written:write wrote:write zombies:zombie";

/// Words that end like a plural and are none.
const SINGULAR: &str = "\
    afterwards alps always andes angeles as asparagus athens athletics atlas besides bias brussels bus \
    cactus campus canvas charles chess christmas circus citrus clothes corps dallas dolphins downstairs \
    eucalyptus focus gas glasses gymnastics hibiscus his hummus indoors iris its james jeans jones kansas \
    las lens lotus mars mathematics moss netherlands news octopus ourselves outdoors pancreas pants paris \
    perhaps philippines physics plus politics scissors series shorts sometimes species states status \
    sunglasses tennis texas thanks themselves this thomas thus towards upstairs us virus walrus yes";

/// Words in -ing and -ed that are no form of a verb.
const NO_VERB: &str = "\
    anything awning bed bedding beijing biped blessing bobsled boeing bowling breed building ceiling \
    clothing covering crossing darling duckling dumpling during earring embed evening everything feed \
    feeling flooring frosting greed herring housing hundred icing indeed king lightning lining lodging \
    meaning meeting moped morning naked need nothing offspring opening painting plumbing pudding railing \
    red reed rigging ring sacred seaweed seed seedling shed shipping sibling siding sled something speed \
    spring sterling stocking string stuffing thing topping underwing united viewing viking watershed \
    wedding weed wicked wing wyoming";

/// Endings of stems that a rule doubled the last letter of: of "running", not of "falling" or "passing".
const DOUBLED: &[&str] = &["bb", "dd", "gg", "mm", "nn", "pp", "rr", "tt"];

/// Endings of stems behind which an -e was lost.
const MUTE: &[&str] = &[
    "c", "u", "v", "z", "dg", "rg", "bl", "dl", "gl", "kl", "pl", "tl", "fl", "rs", "ns", "eas", "uis",
    "ais", "ous", "aus", "iat", "uat", "creat", "rang", "chang", "leng", "plung", "gre", "fre",
];

/// Endings of last syllables without stress, which lost nothing.
const LIGHT: &[&str] = &[
    "en", "er", "el", "it", "on", "op", "et", "al", "or", "om", "ol", "ip", "ot", "ish", "up", "ap", "od",
];

/// `answer` in small letters with each word in its base form, one blank apart. Marks around a word stay.
pub fn lemmatise(answer: &str) -> String {
    let answer = answer.to_lowercase();
    let words: Vec<String> = answer.split_whitespace().map(within_marks).collect();
    words.join(" ")
}

fn within_marks(word: &str) -> String {
    let is_mark = |letter: char| letter.is_ascii_punctuation();
    let bare = word.trim_matches(is_mark);
    match word.find(bare).filter(|_| !bare.is_empty()) {
        Some(start) => format!("{}{}{}", &word[..start], lemma(bare), &word[start + bare.len()..]),
        None => word.to_owned(),
    }
}

fn lemma(word: &str) -> String {
    if let Some((_, base)) = pairs(IRREGULAR).find(|(form, _)| *form == word) {
        return base.to_owned();
    }
    // Names of things in other letters or with digits have no other forms.
    if !word.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return word.to_owned();
    }
    if let Some(stem) = word.strip_suffix("ing").or_else(|| word.strip_suffix("ed"))
        && !holds(NO_VERB, word)
        && stem.len() > 1
        && stem.bytes().any(is_vowel)
    {
        return verb(stem);
    }
    match plural(word) {
        Some(singular) if !holds(SINGULAR, word) => singular,
        _ => word.to_owned(),
    }
}

fn pairs(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split_whitespace().filter_map(|pair| pair.split_once(':'))
}

fn holds(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|own| own == word)
}

/// The verb of which `stem` is what stands before -ing or -ed.
fn verb(stem: &str) -> String {
    if let Some(before) = stem.strip_suffix('i') {
        return match before.len() {
            1 => format!("{stem}e"),
            _ => format!("{before}y"),
        };
    }
    if stem.len() > 3 && DOUBLED.iter().any(|end| stem.ends_with(end)) {
        return stem[..stem.len() - 1].to_owned();
    }
    match lost_e(stem) {
        true => format!("{stem}e"),
        false => stem.to_owned(),
    }
}

/// Whether the verb ended in -e: where no English word could end without, and where one vowel stands between single consonants,
/// as in "skat" and "includ", but not in "rain" and "walk", nor in a light last syllable, as of "open".
fn lost_e(stem: &str) -> bool {
    if MUTE.iter().any(|end| stem.ends_with(end)) {
        return true;
    }
    let (short, last) = match stem.as_bytes() {
        [.., b'q', b'u', vowel, last] => (is_vowel(*vowel), *last),
        [.., before, vowel, last] => (!is_vowel(*before) && is_vowel(*vowel), *last),
        [vowel, last] => (is_vowel(*vowel), *last),
        _ => return false,
    };
    if !short || is_vowel(last) || matches!(last, b'w' | b'x' | b'y') {
        return false;
    }
    let syllables = stem.bytes().filter(|letter| is_vowel(*letter)).count();
    syllables == 1 || !LIGHT.iter().any(|end| stem.ends_with(end))
}

/// The singular of a word that ends like a plural.
fn plural(word: &str) -> Option<String> {
    let stem = word.strip_suffix('s')?;
    if stem.len() < 2 || stem.ends_with(['s', 'u', 'i']) {
        return None;
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return Some(match stem.len() {
            1 => format!("{stem}ie"),
            _ => format!("{stem}y"),
        });
    }
    let hissing = ["ches", "shes", "sses", "xes", "zzes", "oes"];
    if hissing.iter().any(|end| word.ends_with(end)) {
        return word.strip_suffix("es").map(str::to_owned);
    }
    Some(stem.to_owned())
}

fn is_vowel(letter: u8) -> bool {
    matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}
