//! Texts from outside, fit to be shown: cut, and without control characters.

/// At most `most` bytes of a text, at a character's end, without control characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for character in text.trim().chars() {
        let character = if character.is_control() { ' ' } else { character };
        if shown.len() + character.len_utf8() > most {
            break;
        }
        shown.push(character);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_s_end_and_has_one_line() {
        assert_eq!(cut("a\nb\u{1b}[31m", 99), "a b [31m");
        assert_eq!(cut("äöü", 3), "ä");
        assert_eq!(cut("abc", 0), "");
    }
}
