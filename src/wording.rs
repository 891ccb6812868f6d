//! Texts and numbers as people read them, on a terminal, on a page and in a log.

/// As much of a text as there is room for: so many letters, and a sign that there were more.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// On one line, without what could play tricks on a terminal or turn the order of letters around.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_sly(c) { ' ' } else { c }).collect()
}

/// All of these are written with four hexadecimal digits.
pub(crate) fn is_sly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `1234567` as `1,234,567`.
#[cfg(feature = "admin")]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
