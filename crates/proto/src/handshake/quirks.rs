//! Browsers that do not do what they agree to, by their `User-Agent` (ADR 0062).

use super::{Fields, text};

/// Whether the compressor of this client keeps its window although `client_no_context_takeover` was
/// answered: Safari 15, and everything on iOS 15, where every browser is WebKit.
///
/// Its second compressed message could not be inflated alone. Only a known name is looked for: an
/// unknown client is taken at its word.
pub(super) fn keeps_its_window(headers: &impl Fields) -> bool {
    headers.lines("user-agent").filter_map(text).any(|agent| {
        let is_ios = agent.contains("iPhone OS 15_") || agent.contains("CPU OS 15_");
        let is_safari = agent.contains(" Version/15.") && agent.contains(" Safari/");
        // Web views of Android call themselves by a version too, and run on Chromium.
        is_ios || (is_safari && !agent.contains(" Chrome/"))
    })
}
