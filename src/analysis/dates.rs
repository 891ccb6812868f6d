//! Texts that mean the present. Postgres reads `now`, `today`, `tomorrow` and `yesterday` as dates wherever a text becomes
//! one, so such a text makes a result depend on the clock without any function in sight.

/// The words that Postgres turns into the present day or moment.
const CLOCK_WORDS: &[&str] = &["now", "today", "tomorrow", "yesterday"];

/// Words longer than five letters that a date may hold besides.
const DATE_WORDS: &str = "
    january february march april august september october november december sunday monday tuesday wednesday thursday
    friday saturday allballs infinity julian greenwich hongkong iceland israel jamaica kwajalein navajo poland portugal
    singapore turkey universal factory localtime posixrules cetdst eetdst metdst wetdst yesterday tomorrow
";

/// Whether a Postgres string literal, written as `text`, could be read as a date that depends on the clock.
pub(super) fn may_mean_the_present(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let content = match lower.as_bytes() {
        [b'b' | b'x', b'\'', ..] => return false,
        [b'u', b'&', ..] => {
            // Any letter may be written as an escape, and the escape character may be chosen.
            return lower.contains('\\') || lower.contains('+') || has_clock_word(&lower) || lower.contains('!');
        }
        [b'e', b'\'', ..] => {
            let plain = lower.replace(r"\\", " ");
            let spells = plain
                .split('\\')
                .skip(1)
                .any(|after| after.starts_with(|c: char| c.is_ascii_digit() || c == 'x' || c == 'u'));
            if spells {
                return true;
            }
            return has_clock_word(&lower) || has_clock_word(&without_escapes(text).to_ascii_lowercase());
        }
        [b'$', ..] => {
            lower.split_once('$').and_then(|(_, rest)| rest.split_once('$')).map_or(lower.as_str(), |(_, body)| body)
        }
        _ => lower.trim_start_matches('n').trim_matches('\''),
    };
    if !has_clock_word(content) {
        return false;
    }
    let literal_of_many = content.trim_start().starts_with(['{', '[', '(', '"']);
    let foreign = |word: &str| {
        word.len() > 5
            && !CLOCK_WORDS.contains(&word)
            && !DATE_WORDS.split_ascii_whitespace().any(|known| known == word)
    };
    // A slash may belong to the name of a time zone, which may hold any word.
    literal_of_many || content.contains('/') || !words(content).any(foreign)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

fn has_clock_word(text: &str) -> bool {
    words(text).any(|word| CLOCK_WORDS.contains(&word))
}

/// `\n` and the like are blanks; any other letter stands for itself after a backslash.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('b' | 'f' | 'n' | 'r' | 't') => plain.push(' '),
                escaped => plain.extend(escaped),
            },
            _ => plain.push(letter),
        }
    }
    plain
}

/// Whether an SQLite time value, written as a literal, is a date of its own: `'now'`, and `'subsec'` in its place, are not.
pub(super) fn is_fixed_time_value(content: &str) -> bool {
    content.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_mean_the_present() {
        for text in [
            "'now'",
            "'TODAY'",
            "' tomorrow 12:00 UTC'",
            "'{2024-01-01,now}'",
            "'[now,)'",
            "$$yesterday$$",
            "N'now'",
            r"E'\156ow'",
            r"U&'\006eow'",
            r"E't\oday'",
            r"E'T\OMOR\ROW'",
            "'today factory'",
            "'now America/New_York'",
            "'now()'",
        ] {
            assert!(may_mean_the_present(text), "{text}");
        }
        for text in [
            "'2024-01-01'",
            "'know'",
            "'nowhere'",
            "'now you understand everything'",
            "''",
            r"E'a\nb'",
            "X'00'",
            "$$a$$",
        ] {
            assert!(!may_mean_the_present(text), "{text}");
        }
    }
}
