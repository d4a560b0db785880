//! Verifier: tokens in, grants out, by one configuration and the keys of the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use wsgateway_config::{Auth, is_pattern};

use crate::cache::Cache;
use crate::claims::{self, Claims};
use crate::grant::Grant;
use crate::keys::Keys;
use crate::patterns::MAX_PATTERNS;
use crate::permits::Permits;
use crate::refusal::RefusedToken;
use crate::rules;
use crate::token::{MAX_TOKEN_BYTES, verified_claims};

/// Verifies tokens. Shared by everything that lets clients in.
#[derive(Debug)]
pub struct Verifier {
    auth: Auth,
    /// What clients without a token get, if they may come.
    anonymous: Option<Arc<Grant>>,
    keys: RwLock<Arc<Keys>>,
    cache: Mutex<Cache>,
}

/// A token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it grants.
    pub grant: Arc<Grant>,
    /// Whether that was known without a look at its signature.
    pub was_cached: bool,
}

impl Verifier {
    /// A verifier without keys, which refuses every token. `cache_bytes`: most memory for verified tokens.
    pub fn new(auth: &Auth, cache_bytes: usize) -> Self {
        let anonymous = auth.anonymous.as_ref().map(|anonymous| {
            let allowed =
                anonymous.channels.iter().map(String::as_str).filter(|one| is_pattern(one));
            Arc::new(Grant { permits: Permits::new(allowed, []), ..Grant::default() })
        });
        Self {
            auth: auth.clone(),
            anonymous,
            keys: RwLock::default(),
            cache: Mutex::new(Cache::new(cache_bytes)),
        }
    }

    /// The configuration.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Verifies with other keys from now on. Nothing that was verified with the ones before counts any more.
    pub fn set_keys(&self, keys: Keys) {
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(keys);
        // With the keys still locked: a token that is being verified with the old ones is not put in afterwards.
        self.cache().clear();
    }

    /// Whether there is any key.
    pub fn has_keys(&self) -> bool {
        !self.keys.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What clients without a token get, if they may come.
    pub fn anonymous(&self) -> Option<&Arc<Grant>> {
        self.anonymous.as_ref()
    }

    /// What a token grants at a time (Unix ms).
    ///
    /// # Errors
    /// Why it grants nothing.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Verified, RefusedToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(RefusedToken::TooLong);
        }
        if let Some(grant) = self.cache().get(token, now_ms) {
            return Ok(Verified { grant, was_cached: true });
        }
        // Held until the grant is kept, so that it is forgotten together with its key.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let claims = verified_claims(token, &keys, &self.auth.jwt.algorithms)?;
        let grant = Arc::new(self.grant(&claims, now_ms)?);
        self.cache().put(token.into(), Arc::clone(&grant));
        Ok(Verified { grant, was_cached: false })
    }

    /// The channels of a token as patterns, for people: what [`Self::verify`] makes permits of.
    ///
    /// # Errors
    /// As for [`Self::verify`].
    pub fn explain(&self, token: &str, now_ms: u64) -> Result<Channels, RefusedToken> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let claims = verified_claims(token, &keys, &self.auth.jwt.algorithms)?;
        self.grant(&claims, now_ms)?;
        self.channels(&claims)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Every change of it is complete before anything can panic.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What claims grant.
    fn grant(&self, claims: &Claims, now_ms: u64) -> Result<Grant, RefusedToken> {
        let jwt = &self.auth.jwt;
        let expires_at_ms = claims::end(claims, jwt, now_ms)?;
        claims::check_parties(claims, jwt)?;
        let user = Some(claims::name(claims, &jwt.user_claim)?.ok_or(RefusedToken::NoUser)?);
        let token_id = claims::name(claims, "jti")?;
        let Channels { allowed, denied, mut set, left_out } = self.channels(claims)?;
        let permits =
            Permits::new(allowed.iter().map(String::as_str), denied.iter().map(String::as_str));
        set.retain(|pattern| permits.allows(pattern));
        let set = set.into_iter().map(String::into_boxed_str).collect();
        Ok(Grant { user, token_id, expires_at_ms, permits, set, left_out })
    }

    /// The channels of a token: what it says itself, and what rules make of it.
    fn channels(&self, claims: &Claims) -> Result<Channels, RefusedToken> {
        let jwt = &self.auth.jwt;
        let claimed = match &jwt.channels_claim {
            Some(claim) => claims::patterns(claims, claim)?,
            None => Vec::new(),
        };
        let set_by_claim = match &jwt.set_channels_claim {
            Some(claim) => claims::set_patterns(claims, claim)?,
            None => Vec::new(),
        };
        let mut channels = Channels {
            left_out: claimed.iter().filter(|pattern| !is_pattern(pattern)).count(),
            ..Channels::default()
        };
        let claimed = claimed.into_iter().filter(|pattern| is_pattern(pattern));
        channels.allowed.extend(claimed.map(str::to_owned));
        for pattern in set_by_claim {
            channels.set(pattern);
            channels.allow(pattern);
        }
        for rule in &self.auth.channels {
            let Some(pattern) = rules::filled(rule, claims) else { continue };
            if rule.set {
                channels.set(&pattern);
            }
            if rule.deny {
                channels.denied.push(pattern);
            } else {
                channels.allow(&pattern);
            }
        }
        if self.auth.is_open() {
            channels.allowed.push(">".to_owned());
        }
        // More would be left out of the set, and nobody would know which.
        let fits = channels.allowed.len() <= MAX_PATTERNS;
        if fits { Ok(channels) } else { Err(RefusedToken::BadChannels) }
    }
}

/// The channels of a token, as patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// What its holder may hear.
    pub allowed: Vec<String>,
    /// What it may not hear, whatever allows it.
    pub denied: Vec<String>,
    /// What its holder is subscribed to, each once.
    pub set: Vec<String>,
    /// Patterns of the token that are none.
    pub left_out: usize,
}

impl Channels {
    fn set(&mut self, pattern: &str) {
        push_new(&mut self.set, pattern);
    }

    fn allow(&mut self, pattern: &str) {
        push_new(&mut self.allowed, pattern);
    }
}

/// Lists have a hundred patterns at most.
fn push_new(list: &mut Vec<String>, pattern: &str) {
    if list.iter().all(|known| known != pattern) {
        list.push(pattern.to_owned());
    }
}

#[cfg(test)]
mod tests;
