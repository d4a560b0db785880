//! One connection at a time: opens it, serves it, and says when there is another one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{BoxFuture, FutureExt as _, pending};
use rustls::ClientConfig;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::backoff::{Attempts, Backoff, End, code};
use crate::builder::{Token, TokenSource};
use crate::client::{Pumped, Shared};
use crate::event::{Closed, Event, Refused};
use crate::line::{Line, Target};
use crate::wire::Command;

/// What a client was built with.
pub(crate) struct Settings {
    pub targets: Vec<Target>,
    pub tls: Option<Arc<ClientConfig>>,
    pub token: Token,
    pub compression: bool,
    pub backoff: Backoff,
    pub ping_after: Duration,
    pub ping_timeout: Duration,
    pub connect_timeout: Duration,
}

/// What is known of the connection that is there.
struct Connection {
    opened_at: Instant,
    heard_at: Instant,
    /// When a ping was sent that nothing has followed yet.
    asked_at: Option<Instant>,
    useful_since: Option<Instant>,
    /// When the gateway advises to come back.
    advised_at: Option<Instant>,
    /// Another token, once it is there.
    renewal: Option<BoxFuture<'static, String>>,
}

/// The connection's task.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    settings: Settings,
    target: usize,
    attempts: Attempts,
    connection: Connection,
}

/// Ends the streams whatever ends the task, also a panic of the function for tokens.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Ok(()));
    }
}

impl Connection {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            opened_at: now,
            heard_at: now,
            asked_at: None,
            useful_since: None,
            advised_at: None,
            renewal: None,
        }
    }
}

impl Runner {
    pub(crate) fn new(shared: Arc<Shared>, settings: Settings) -> Self {
        let can_renew = matches!(settings.token, Token::Source(_));
        Self {
            shared,
            settings,
            target: 0,
            attempts: Attempts { can_renew, ..Attempts::default() },
            connection: Connection::new(),
        }
    }

    /// Until the client is closed, the gateway says that it is over, or trying again would fail again.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let ending = Ending(Arc::clone(&shared));
        let result = tokio::select! {
            result = self.attempts().boxed() => result,
            () = shared.closing() => Ok(()),
        };
        drop(self);
        ending.0.end(result);
    }

    async fn attempts(&mut self) -> Result<(), Refused> {
        loop {
            let end = match self.connect().await {
                Ok(mut line) => self.serve(&mut line).await,
                Err(end) => end,
            };
            // Something on the way breaks it, and would break it again.
            self.settings.compression &= !end.garbled;
            match self.finish(&end) {
                Some(wait) => {
                    self.hand_over().await;
                    sleep(wait).await;
                }
                None => {
                    self.hand_over().await;
                    let End { code, reason, .. } = end;
                    return if code == code::NORMAL {
                        Ok(())
                    } else {
                        Err(Refused { code, reason })
                    };
                }
            }
        }
    }

    /// Opens a line, or says how that ended.
    async fn connect(&mut self) -> Result<Line, End> {
        let give_up = Instant::now() + self.settings.connect_timeout;
        let attempt = async {
            let token = match &self.settings.token {
                Token::None => None,
                Token::Fixed(token) => Some(token.clone()),
                Token::Source(source) => match source().await {
                    Some(token) => Some(token),
                    None => return Err(unavailable(&self.shared)),
                },
            };
            let target = &self.settings.targets[self.target % self.settings.targets.len()];
            Line::open(
                target,
                self.settings.tls.clone(),
                token.as_deref(),
                self.settings.compression,
                give_up,
            )
            .await
        };
        let opened = timeout_at(give_up.into(), attempt).await;
        let line = opened.unwrap_or_else(|_| Err(End::abnormal("not connected in time")))?;
        self.connection = Connection::new();
        Ok(line)
    }

    /// Hands over events until the line has ended.
    async fn serve(&mut self, line: &mut Line) -> End {
        loop {
            if let Err(end) = self.drain(line).await {
                return end;
            }
            let due = self.due();
            let renewal = &mut self.connection.renewal;
            let renewed = async move {
                match renewal {
                    Some(renewal) => renewal.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                frame = line.next() => match frame {
                    Ok(frame) => {
                        (self.connection.heard_at, self.connection.asked_at) = (Instant::now(), None);
                        self.shared.state().session.receive(&frame);
                    }
                    Err(end) => return end,
                },
                token = renewed => {
                    self.connection.renewal = None;
                    let auth = Command { kind: "auth", token, ..Command::default() };
                    if let Err(end) = line.send(&auth).await {
                        return end;
                    }
                }
                () = self.shared.wake.notified() => {}
                () = sleep_until(due.into()) => if let Err(end) = self.check(line).await {
                    return end;
                },
            }
        }
    }

    /// Hands over all events, and sends what is due.
    async fn drain(&mut self, line: &mut Line) -> Result<(), End> {
        loop {
            let pumped = self.shared.state().pump();
            match pumped {
                Pumped::Idle => break,
                Pumped::Blocked => self.shared.wake.notified().await,
                Pumped::Delivered(event) => self.observe(&event)?,
            }
        }
        let now = Instant::now();
        let (commands, settled) = {
            let session = &mut self.shared.state().session;
            (session.commands(now), session.settled())
        };
        if settled {
            self.connection.useful_since.get_or_insert(now);
        }
        for command in &commands {
            line.send(command).await?;
        }
        Ok(())
    }

    /// Hands over what is left when there is no line.
    async fn hand_over(&mut self) {
        loop {
            let pumped = self.shared.state().pump();
            match pumped {
                Pumped::Idle => return,
                Pumped::Blocked => self.shared.wake.notified().await,
                Pumped::Delivered(_) => {}
            }
        }
    }

    /// Does what an event means for the connection.
    fn observe(&mut self, event: &Event) -> Result<(), End> {
        match event {
            Event::Opened(_) => self.attempts.refusals = 0,
            Event::Reconnect(reconnect) => {
                self.connection.advised_at = Some(Instant::now() + reconnect.after);
            }
            Event::TokenExpiring(_) => {
                if let (Token::Source(source), None) =
                    (&self.settings.token, &self.connection.renewal)
                {
                    let (source, shared) = (Arc::clone(source), Arc::clone(&self.shared));
                    let renewal = renew(source, self.settings.backoff, shared);
                    self.connection.renewal = Some(renewal.boxed());
                }
            }
            // Another user has logged in: a change of connections loses nothing.
            Event::Error(error) if error.code == "wrong_user" => {
                let advised = Some(Duration::ZERO);
                return Err(End { advised, ..End::new(code::RESTART, error.code.clone()) });
            }
            _ => {}
        }
        Ok(())
    }

    /// When something is to be checked or sent.
    fn due(&self) -> Instant {
        let connection = &self.connection;
        let session = &self.shared.state().session;
        let next = match connection.asked_at {
            _ if !session.greeted => connection.opened_at + self.settings.connect_timeout,
            Some(asked) => asked + self.settings.ping_timeout,
            None => connection.heard_at + self.settings.ping_after,
        };
        session.commander.wake_at.map_or(next, |wake| wake.min(next))
    }

    /// Gives a silent line up, or asks it for a sign of life.
    async fn check(&mut self, line: &mut Line) -> Result<(), End> {
        let now = Instant::now();
        let (greeted, overdue) = {
            let session = &self.shared.state().session;
            (session.greeted, session.commander.overdue(now))
        };
        let since = |then: Instant| now.saturating_duration_since(then);
        if !greeted {
            let late = since(self.connection.opened_at) >= self.settings.connect_timeout;
            return if late { Err(End::abnormal("not greeted in time")) } else { Ok(()) };
        }
        if overdue {
            return Err(End::abnormal("no answer to a subscribe in time"));
        }
        match self.connection.asked_at {
            Some(asked) if since(asked) >= self.settings.ping_timeout => {
                Err(End::abnormal("no answer in time"))
            }
            None if since(self.connection.heard_at) >= self.settings.ping_after => {
                self.connection.asked_at = Some(now);
                let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let timestamp = elapsed.ok().and_then(|time| time.as_millis().try_into().ok());
                let timestamp = timestamp.unwrap_or_default();
                line.send(&Command { kind: "ping", timestamp, ..Command::default() }).await
            }
            _ => Ok(()),
        }
    }

    /// Ends the connection, and returns the time until the next attempt, if there is one.
    fn finish(&mut self, end: &End) -> Option<Duration> {
        let now = Instant::now();
        let old = std::mem::replace(&mut self.connection, Connection::new());
        let advice = old.advised_at.map(|at| at.saturating_duration_since(now));
        let end = End { advised: end.advised.or(advice), ..end.clone() };
        let useful = old.useful_since.map(|since| now.saturating_duration_since(since));
        let was_stable = useful.is_some_and(|time| time >= self.settings.backoff.stable);
        self.attempts.useless =
            if was_stable { 0 } else { self.attempts.useless.saturating_add(1) };
        self.target = self.target.wrapping_add(1);
        if end.is_token() {
            self.attempts.refusals = self.attempts.refusals.saturating_add(1);
        }
        let wait = self.settings.backoff.delay(&end, self.attempts, fastrand::f64());
        let session = &mut self.shared.state().session;
        session.ended();
        if end.is_token() {
            session.error("unauthorized", &end.reason);
        }
        let (code, reason) = (end.code, end.reason);
        session.emit(Event::Closed(Closed { code, reason, retry_in: wait }));
        wait
    }
}

/// The event does not say what the function said: that may hold the token.
fn unavailable(shared: &Shared) -> End {
    shared.state().session.error("token_unavailable", "the function for tokens failed");
    End::abnormal("no token")
}

/// Another token: the function is called again and again until it has one.
async fn renew(source: TokenSource, backoff: Backoff, shared: Arc<Shared>) -> String {
    let mut attempt = 0;
    loop {
        if let Some(token) = source().await {
            return token;
        }
        unavailable(&shared);
        shared.wake.notify_one();
        sleep(backoff.ceiling(attempt).mul_f64(fastrand::f64())).await;
        attempt = attempt.saturating_add(1);
    }
}
