//! Whether bytes are one JSON text (RFC 8259): one pass, no allocation, no recursion.
//!
//! serde_json could tell as well, but keeps the open brackets on the heap, and a payload must not
//! cost an allocation. Its verdict is the oracle of the tests below.

/// Deepest nesting that is passed on as JSON. Parsers of browsers and languages differ beyond it
/// (many stop at 500 to 1,000 levels), and one bit per level is all that is kept.
pub(super) const MAX_DEPTH: usize = 512;

/// One bit per open bracket: set for an object, clear for a list.
#[derive(Default)]
struct Open {
    bits: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) -> Option<()> {
        let word = self.bits.get_mut(self.depth / 64)?;
        let bit = 1 << (self.depth % 64);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Some(())
    }

    /// Whether the innermost open bracket is an object's; `None` when none is open.
    fn top(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.bits.get(at / 64)? >> (at % 64) & 1 == 1)
    }
}

/// Whether `payload` is UTF-8 and one JSON value.
pub(super) fn is_json(payload: &[u8]) -> bool {
    let mut scan = Scan { rest: payload };
    scan.text().is_some() && scan.rest.is_empty() && std::str::from_utf8(payload).is_ok()
}

/// What has not been read. Every step returns `None` where the text stops being JSON.
struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    /// A value with whitespace around it.
    fn text(&mut self) -> Option<()> {
        let mut open = Open::default();
        loop {
            // A value is due here.
            self.space();
            match self.peek()? {
                b'{' => {
                    self.skip(1);
                    self.space();
                    if !self.eat(b'}') {
                        open.push(true)?;
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.skip(1);
                    self.space();
                    if !self.eat(b']') {
                        open.push(false)?;
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended: so may the brackets around it.
            loop {
                self.space();
                let Some(object) = open.top() else { return Some(()) };
                if self.eat(b',') {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                if !self.eat(if object { b'}' } else { b']' }) {
                    return None;
                }
                open.depth -= 1;
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.space();
        self.eat(b':').then_some(())
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        if !self.eat(b'"') {
            return None;
        }
        loop {
            let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            self.skip(plain);
            match self.peek()? {
                b'"' => {
                    self.skip(1);
                    return Some(());
                }
                b'\\' => {
                    self.skip(1);
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let used = match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
            b'u' if self.rest.get(1..5)?.iter().all(u8::is_ascii_hexdigit) => 5,
            _ => return None,
        };
        self.skip(used);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.skip(count);
        (count > 0).then_some(())
    }

    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.skip(usize::from(found));
        found
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// The verdict of serde_json, which does not look at UTF-8 when it reads bytes.
    fn oracle(payload: &[u8]) -> bool {
        std::str::from_utf8(payload)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    }

    #[test]
    fn the_corners_of_the_grammar_are_right() {
        for (text, want) in [
            ("", false),
            (" ", false),
            ("0", true),
            ("-0.5e+10", true),
            ("01", false),
            ("-", false),
            ("1.", false),
            (".5", false),
            ("1e", false),
            ("+1", false),
            ("NaN", false),
            ("true", true),
            ("tru", false),
            ("truex", false),
            ("\"\"", true),
            ("\"\\u00e9\\n\"", true),
            ("\"\\u00g9\"", false),
            ("\"\\u00", false),
            ("\"\\x\"", false),
            ("\"\n\"", false),
            ("\"", false),
            ("[]", true),
            ("[ ]", true),
            ("[1,]", false),
            ("[,1]", false),
            ("[1 2]", false),
            ("[1}", false),
            ("{}", true),
            ("{\"a\":1,\"b\":[{}]}", true),
            ("{\"a\":1,}", false),
            ("{\"a\"}", false),
            ("{a:1}", false),
            ("{1:1}", false),
            ("{} {}", false),
            ("]", false),
            (" \t\r\n[ 1 , {\"a\" : null } ] \n", true),
            ("\u{feff}{}", false),
        ] {
            assert_eq!(is_json(text.as_bytes()), want, "{text:?}");
            assert_eq!(oracle(text.as_bytes()), want, "{text:?} by serde_json");
        }
    }

    #[test]
    fn nesting_is_followed_to_its_bound_and_no_further() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_json(nested(MAX_DEPTH).as_bytes()));
        assert!(!is_json(nested(MAX_DEPTH + 2).as_bytes()));
        assert!(!is_json("[{\"a\":".repeat(1_000_000).as_bytes()));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_not_json() {
        assert!(!is_json(b"\"\xFF\""));
        assert!(!is_json(b"\"\xED\xA0\x80\""));
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_serde_json(
            bytes: Vec<u8>,
            text in "([\\[\\]{},:\" ]|\"a\"|\\\\|\\\\u00e9|true|null|-|0|12|\\.|e5|\n){0,14}",
        ) {
            for payload in [&bytes[..], text.as_bytes()] {
                prop_assert_eq!(is_json(payload), oracle(payload), "{:?}", payload);
            }
        }

        #[test]
        fn real_values_are_json_and_with_one_byte_changed_serde_json_agrees(
            keys in prop::collection::vec(".{0,5}", 0..5), number: f64, at: prop::sample::Index, byte: u8,
        ) {
            let value = serde_json::json!({"k": keys, "n": number, "o": {"a": [[], {}, null, true]}});
            let mut text = serde_json::to_vec_pretty(&value).unwrap();
            prop_assert!(is_json(&text));
            let at = at.index(text.len());
            text[at] = byte;
            prop_assert_eq!(is_json(&text), oracle(&text));
        }
    }
}
