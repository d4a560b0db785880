//! The beginning of a consumer's life: which stream this is, where to go on in it, and one consumer for that.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use wsgateway_nats::jetstream::{
    AnswerError, ConsumerConfig, ConsumerInfo, StreamInfo, codes, done,
};

use super::api_link::ApiLink;
use super::control::HEARTBEAT;
use super::identity::Guess;
use super::lookup::seed::{Asked, Seed, Wanted};
use super::{Consumer, Ended, Reader};
use crate::source::position::{Begin, Observed, begin};
use crate::source::status::State;

/// How long the server keeps a consumer that nobody listens to any more: that of a process that was killed.
const INACTIVE: Duration = Duration::from_secs(5);

/// The same where nobody listens between two requests: one that was paid for by many deliveries may take its time.
const INACTIVE_PULLED: Duration = Duration::from_secs(300);

/// Longest wait for the last values of a stream, before the pod is ready without them.
const SEED: Duration = Duration::from_secs(15);

const CREATE: &str = "create a consumer";

impl Reader {
    pub(super) async fn read_from(&mut self, link: &mut ApiLink) -> Result<Infallible, Ended> {
        let info = self.find_stream(link).await?;
        let (plan, guess) = self.plan(&info);
        self.delete_consumer(link).await?;
        // What is read back at the start goes to no client, and the pod is not ready before: it is not slowed down.
        let pulls = !plan.fresh && !self.sink.rates.borrow_and_update().is_unlimited();
        let made = self.create_consumer(link, &info, plan.start, pulls).await?;
        if plan.fresh {
            self.sink.reset(&guess.epoch, plan.start - 1);
            self.sink.status.set(State::Warming, None);
            self.seed(link, &info, &plan, &guess).await?;
        }
        if let Some((from, to)) = plan.lost {
            self.sink.lost(from, to);
        }
        let progress = self.progress(plan, guess, made);
        match pulls {
            true => self.pull(link, progress).await,
            false => self.read(link, progress).await,
        }
    }

    /// Gives the history the last values from before what will be read back. Where they do not come in time, they are
    /// looked up when they are asked for.
    async fn seed(
        &mut self,
        link: &mut ApiLink,
        info: &StreamInfo,
        plan: &Begin,
        guess: &Guess,
    ) -> Result<(), Ended> {
        if plan.start <= info.first.max(1) {
            self.sink.seed(&guess.epoch, &Seed::default()); // all that the stream has will be read
            return Ok(());
        }
        let bytes = self.sink.history.bounds().quiet_bytes();
        let what = Wanted { server: info.epoch.clone(), start: plan.start, bytes };
        let (answer, seed) = oneshot::channel();
        // Full only while nobody answers.
        if self.seeds.try_send(Asked { what, answer }).is_ok()
            && let Ok(Ok(seed)) = link.wait(timeout(SEED, seed)).await?
        {
            self.sink.seed(&guess.epoch, &seed);
        }
        Ok(())
    }

    pub(super) async fn find_stream(&self, link: &mut ApiLink) -> Result<StreamInfo, Ended> {
        const WHAT: &str = "look up the stream";
        let stream = &self.source.stream;
        let answer = link.request(WHAT, &self.api.stream_info(stream), b"").await?;
        StreamInfo::read(&answer).map_err(|error| match error {
            AnswerError::Refused { code: codes::STREAM_NOT_FOUND, .. } => {
                Ended::NoStream(stream.clone())
            }
            error => Ended::Refused { what: WHAT, why: error.to_string() },
        })
    }

    /// Where to go on, and under which epoch.
    fn plan(&mut self, info: &StreamInfo) -> (Begin, Guess) {
        let (first, last) = (info.first, info.last);
        let comparable = self.cursor.as_ref().is_some_and(|cursor| {
            cursor.stored.is_some() && first <= cursor.position && cursor.position <= last
        });
        let mut guess = self.identity.guess(info.epoch.clone(), comparable);
        let observed = Observed { epoch: &guess.epoch, first, last };
        // As much is read back of a stream that is new as the history keeps.
        let warmup = self.sink.history.bounds().messages as u64;
        let plan = begin(self.cursor.as_ref(), observed, warmup);
        if plan.regressed {
            guess.epoch = self.identity.rename(&guess, self.cursor.as_ref(), last);
        }
        (plan, guess)
    }

    /// Deletes the consumer that this process may have, so that it never has two.
    pub(super) async fn delete_consumer(&mut self, link: &mut ApiLink) -> Result<(), Ended> {
        if !self.consumer.exists {
            return Ok(());
        }
        let subject = self.api.delete_consumer(&self.source.stream, &self.consumer.name);
        let answer = match link.request("delete the consumer before", &subject, b"").await {
            Err(Ended::Refused { .. }) if link.complaint.is_some() => {
                // Nobody allows us to: it is deleted by the server when nobody listens to it.
                self.consumer = Consumer::new(&self.consumer.name);
                return Ok(());
            }
            answer => answer?,
        };
        match done(&answer) {
            Ok(())
            | Err(AnswerError::Refused {
                code: codes::CONSUMER_NOT_FOUND | codes::STREAM_NOT_FOUND,
                ..
            }) => {
                self.consumer.exists = false;
                Ok(())
            }
            Err(error) => {
                Err(Ended::Refused { what: "delete the consumer before", why: error.to_string() })
            }
        }
    }

    async fn create_consumer(
        &mut self,
        link: &mut ApiLink,
        info: &StreamInfo,
        start: u64,
        pulls: bool,
    ) -> Result<ConsumerInfo, Ended> {
        let stream = &self.source.stream;
        let inbox = link.listen();
        let inactive = if pulls { INACTIVE_PULLED } else { INACTIVE };
        let config = ConsumerConfig {
            stream,
            name: &self.consumer.name,
            inbox: (!pulls).then_some(inbox.as_str()),
            start,
            heartbeat: HEARTBEAT,
            inactive: info.inactive_limit.map_or(inactive, |limit| limit.min(inactive)),
        };
        // Whatever becomes of the answer.
        self.consumer.exists = true;
        let subject = self.api.create_consumer(stream, &self.consumer.name);
        let answer = link.request(CREATE, &subject, &config.body()).await?;
        ConsumerInfo::read(&answer).map_err(|error| match error {
            AnswerError::Refused { code: codes::STREAM_NOT_FOUND, .. } => {
                Ended::NoStream(stream.clone())
            }
            error => Ended::Refused { what: CREATE, why: advice(&error) },
        })
    }
}

/// A refusal, with what to change where that is known.
fn advice(error: &AnswerError) -> String {
    let AnswerError::Refused { code, .. } = error else { return error.to_string() };
    let advice = match *code {
        codes::MAXIMUM_CONSUMERS => {
            "raise max_consumers of the stream or of the account above the number of pods"
        }
        codes::WORK_QUEUE_NEEDS_ACKS
        | codes::WORK_QUEUE_TAKEN
        | codes::WORK_QUEUE_NOT_UNIQUE
        | codes::WORK_QUEUE_DELIVERS_ALL => {
            "a stream with retention \"workqueue\" gives each message to one reader: use one with retention \"limits\""
        }
        _ => return error.to_string(),
    };
    format!("{error}: {advice}")
}
