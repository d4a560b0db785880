//! CEL rules too long to stand beside their field: patterns compared token by token.
//!
//! The API server's CEL has neither indices in `all` nor local names, hence the spelled-out index lists and the lists
//! of one element. Its cost bound counts every list at its largest, 64 rules of 255 characters, and
//! knows no length of what `split` returns, so tokens are compared by `in`, which it counts as one step, never by `==`.

use crate::{RESERVED_LABELS, RESERVED_PREFIX};

/// Most tokens of a rule's pattern: with 64 rules of twice as many the API server runs out of patience (measured).
pub(crate) const MAX_TOKENS: usize = 8;

/// On a map: its entries are Kubernetes labels.
pub(crate) const LABELS: &str = "self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$') \
     && self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))";
/// On a map: its keys are names of Kubernetes annotations.
pub(crate) const ANNOTATIONS: &str = "self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))";

/// On labels: none of them is the operator's.
pub(crate) fn labels_not_reserved() -> String {
    format!(
        "self.all(k, !k.startsWith('{RESERVED_PREFIX}') && !(k in ['{}']))",
        RESERVED_LABELS.join("','")
    )
}

fn indices(end: usize) -> String {
    let numbers: Vec<String> = (0..end).map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

/// On the list of rules: no rule stands behind one that matches all of it.
pub(crate) fn rules_get_their_turn() -> String {
    let rules = indices(wsgateway_config::MAX_RULES);
    let tokens = indices(MAX_TOKENS);
    // As `wsgateway_config::covers`: a is the earlier, b the later one.
    format!(
        "{rules}.all(j, j >= self.size() || {rules}.all(i, i >= j || \
         [self[i].match.split('.')].all(a, [self[j].match.split('.')].all(b, \
         (self[i].match.endsWith('>') ? a.size() > b.size() : (a.size() != b.size() || self[j].match.endsWith('>'))) \
         || {tokens}.exists(k, k < a.size() && !(a[k] in ['*', '>', b[k]]))))))"
    )
}

/// On the specification: each rule matches a channel of some subject. Of Redis any channel may come.
pub(crate) fn rules_match_something() -> String {
    let tokens = indices(MAX_TOKENS);
    // As `check::channels::could_match`: m are the tokens of the rule, s those of the subject, and the channel begins at
    // the o-th of them.
    format!(
        "!has(self.stream) || self.channels.rules.all(r, [r.match.split('.')].all(m, self.stream.subjects.exists(subject, \
         (!subject.startsWith(self.channels.stripPrefix) && (subject.contains('*') || (subject.endsWith('>') && \
         self.channels.stripPrefix.startsWith(subject.substring(0, subject.size() - 1))))) || \
         [subject.split('.')].all(s, [subject.startsWith(self.channels.stripPrefix) ? \
         self.channels.stripPrefix.split('.').size() - 1 : 0].all(o, \
         (m.size() == s.size() - o || (r.match.endsWith('>') && s.size() - o > m.size()) || \
         (subject.endsWith('>') && m.size() > s.size() - o)) && \
         {tokens}.all(k, k >= m.size() || k + o >= s.size() || s[k + o] in ['*', '>'] || \
         m[k] in ['*', '>', s[k + o]]))))))"
    )
}
