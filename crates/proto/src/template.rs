//! Templates: how a short name of an older protocol (a symbol, a token) becomes a channel.
//!
//! Pure functions of strings. What must hold: a name fills exactly the place it is meant for, so that no client reaches
//! a channel of another shape by a clever name.

use std::borrow::Cow;

use crate::channel::{self, Kind};

/// Longest name that is put into a template (bytes): no instrument of any exchange is a quarter as long.
pub const MAX_NAME: usize = 64;

/// A channel with one place for a name, such as `{symbol}.trade`. By default the name itself is the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    before: Box<str>,
    after: Box<str>,
}

impl Template {
    /// Reads a template: a channel or pattern in which `{place}` stands exactly once. `None` if it is anything else.
    ///
    /// A colon counts as a dot, so that the channel of a Redis server may be written as it is there
    /// (`channel:trade:{symbol}`).
    pub fn new(text: &str, place: &str) -> Option<Self> {
        let text = match text.contains(':') {
            true => Cow::Owned(text.replace(':', ".")),
            false => Cow::Borrowed(text),
        };
        let (before, rest) = text.split_once('{')?;
        let (name, after) = rest.split_once('}')?;
        let whole = name == place && !after.contains(['{', '}']) && !before.contains('}');
        let filled = format!("{before}x{after}");
        (whole && channel::validate(&filled).is_ok())
            .then(|| Self { before: before.into(), after: after.into() })
    }

    /// The channel of a name; `None` when the name is empty, longer than [`MAX_NAME`], or holds a dot, a wildcard,
    /// whitespace or a control character.
    pub fn fill(&self, name: &str) -> Option<String> {
        let plain = name.len() <= MAX_NAME
            && !name.contains('.')
            && channel::validate(name) == Ok(Kind::Exact);
        let channel = plain.then(|| format!("{}{name}{}", self.before, self.after))?;
        (channel.len() <= channel::MAX_BYTES).then_some(channel)
    }

    /// The name that [`Template::fill`] made this channel of; `None` for channels of another shape.
    pub fn name<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let name = channel.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        (!name.is_empty() && !name.contains('.')).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_is_a_channel_with_one_place() {
        for (text, good) in [
            ("{symbol}.trade", true),
            ("{symbol}", true),
            ("channel:trade:{symbol}", true),
            ("{symbol}.>", true),
            ("eu-{symbol}.trade", true),
            ("", false),
            ("trade", false),
            ("{token}.trade", false),
            ("{symbol}.{symbol}", false),
            ("{symbol", false),
            ("symbol}", false),
            ("}{symbol}", false),
            ("{symbol}..trade", false),
            (".{symbol}", false),
            ("{symbol} trade", false),
            (">.{symbol}", false),
        ] {
            assert_eq!(Template::new(text, "symbol").is_some(), good, "{text:?}");
        }
    }

    #[test]
    fn a_name_becomes_a_channel_and_is_found_in_it_again() {
        for (template, name, channel) in [
            ("{symbol}.trade", "AAPL", "AAPL.trade"),
            ("channel:trade:{symbol}", "BRK-B", "channel.trade.BRK-B"),
            ("{symbol}", "münze", "münze"),
            ("eu-{symbol}.trade", "A", "eu-A.trade"),
        ] {
            let template = Template::new(template, "symbol").unwrap();
            assert_eq!(template.fill(name).as_deref(), Some(channel));
            assert_eq!(template.name(channel), Some(name));
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_place() {
        let template = Template::new("{symbol}.trade", "symbol").unwrap();
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", "*", ">", "A*", "A.B", ".", "A B", "A\n", "A\0", "A\u{a0}", &long] {
            assert_eq!(template.fill(name), None, "{name:?}");
        }
        assert_eq!(template.name("A.B.trade"), None);
        assert_eq!(template.name(".trade"), None);
        assert_eq!(template.name("A.price"), None);
        let long = Template::new(&format!("{}{{symbol}}", "x".repeat(200)), "symbol").unwrap();
        assert_eq!(long.fill(&"y".repeat(56)), None, "the channel would be too long");
    }

    proptest! {
        #[test]
        fn whatever_is_filled_in_is_one_token_of_the_channel(name: String) {
            let template = Template::new("a.{x}.b", "x").unwrap();
            if let Some(channel) = template.fill(&name) {
                prop_assert_eq!(channel::validate(&channel), Ok(Kind::Exact));
                prop_assert!(channel::matches("a.*.b", &channel));
                prop_assert_eq!(template.name(&channel), Some(&*name));
            }
        }
    }
}
