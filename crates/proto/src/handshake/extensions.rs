//! `Sec-WebSocket-Extensions`: its grammar (RFC 6455 section 9.1) and the parameters of
//! permessage-deflate (RFC 7692 section 7.1), both sides.

use crate::deflate;

const DEFLATE: &str = "permessage-deflate";

/// The whole window, which is the only one used here.
const FULL_WINDOW: u8 = 15;

/// The header breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a server answers to the lines of a request's header: `None` when no offer fits. The first
/// offer that fits is taken; one that RFC 7692 tells to decline is passed over.
pub(super) fn answer<'a>(
    lines: impl Iterator<Item = Option<&'a str>>,
) -> Result<Option<&'static str>, Malformed> {
    let mut answer = None;
    for line in lines {
        let mut rest = Scanner(line.ok_or(Malformed)?);
        while let Some(extension) = rest.extension()? {
            let window = extension.deflate.and_then(|offer| match offer.server_window {
                Window::Absent => Some(deflate::RESPONSE),
                Window::Bits(FULL_WINDOW) => Some(deflate::RESPONSE_WINDOW),
                _ => None,
            });
            answer = answer.or(window);
        }
    }
    Ok(answer)
}

/// Reads a server's answer: whether it speaks permessage-deflate from now on, in the way that
/// [`deflate::OFFER`] asked for. `Err` for anything that was not offered, or not like this.
pub(super) fn agreed<'a>(
    lines: impl Iterator<Item = Option<&'a str>>,
    offered: bool,
) -> Result<bool, Malformed> {
    let mut agreed = false;
    for line in lines {
        let mut rest = Scanner(line.ok_or(Malformed)?);
        while let Some(extension) = rest.extension()? {
            let answer = extension.deflate.ok_or(Malformed)?;
            // Without the first the server might lean on messages before. The client's window
            // may be named only if the offer said so. Any window of the server's can be read.
            let fits = answer.server_alone
                && answer.client_window == Window::Absent
                && answer.server_window != Window::Unnamed;
            if !offered || agreed || !fits {
                return Err(Malformed);
            }
            agreed = true;
        }
    }
    Ok(agreed)
}

/// A window parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Window {
    #[default]
    Absent,
    /// There, without a value.
    Unnamed,
    Bits(u8),
}

/// Parameters of permessage-deflate, each valid by itself and there at most once.
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    server_alone: bool,
    client_alone: bool,
    server_window: Window,
    client_window: Window,
}

impl Parameters {
    /// Adds one; `None` when it is unknown, invalid or there twice.
    fn with(mut self, name: &str, value: Option<&str>) -> Option<Self> {
        let flag =
            |set: &mut bool| (!std::mem::replace(set, true) && value.is_none()).then_some(());
        let window = |window: &mut Window| {
            let new = value.map_or(Some(Window::Unnamed), |value| bits(value).map(Window::Bits))?;
            (std::mem::replace(window, new) == Window::Absent).then_some(())
        };
        match name {
            "server_no_context_takeover" => flag(&mut self.server_alone)?,
            "client_no_context_takeover" => flag(&mut self.client_alone)?,
            // Of the two only the client's may come without a value, in an offer.
            "server_max_window_bits" => value.and_then(|_| window(&mut self.server_window))?,
            "client_max_window_bits" => window(&mut self.client_window)?,
            _ => return None,
        }
        Some(self)
    }
}

/// 8 to 15, in decimal, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

/// One element of the list.
struct Extension {
    /// Its parameters if it is permessage-deflate and they are all good.
    deflate: Option<Parameters>,
}

/// What is left of one header line.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// The next element; empty ones are skipped (RFC 9110 section 5.6.1).
    fn extension(&mut self) -> Result<Option<Extension>, Malformed> {
        while self.eat(',') {}
        if self.0.is_empty() {
            return Ok(None);
        }
        let ours = self.token()? == DEFLATE;
        let mut deflate = ours.then(Parameters::default);
        while self.eat(';') {
            let name = self.token()?;
            let value = if self.eat('=') { Some(self.value()?) } else { None };
            deflate = deflate.and_then(|parameters| parameters.with(name, value.as_deref()));
        }
        if !self.0.is_empty() && !self.0.starts_with(',') {
            return Err(Malformed);
        }
        Ok(Some(Extension { deflate }))
    }

    /// Takes one character, and the white space on both sides.
    fn eat(&mut self, wanted: char) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest.trim_start_matches([' ', '\t']);
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted string that is a token once unquoted.
    fn value(&mut self) -> Result<std::borrow::Cow<'a, str>, Malformed> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().map(Into::into) };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if value.is_empty() => return Err(Malformed),
                '"' => {
                    self.0 = quoted.get(at + 1..).unwrap_or_default();
                    return Ok(value.into());
                }
                '\\' => {
                    let escaped = characters.next().map(|(_, c)| c).filter(|c| is_token(*c));
                    value.push(escaped.ok_or(Malformed)?);
                }
                character if is_token(character) => value.push(character),
                _ => return Err(Malformed),
            }
        }
        Err(Malformed)
    }
}

/// RFC 9110 section 5.6.2.
const fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(
            character,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '.'
                | '^'
                | '_'
                | '`'
                | '|'
                | '~'
        )
}
