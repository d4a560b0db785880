//! A NATS server whose streams are looked at or made, and what went wrong with it in words for the command line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::context::GetStreamByNameErrorKind;
use wsgateway_config::JetStreamSource;
use wsgateway_crds::AdoptionPolicy;
use wsgateway_nats::{
    Access, Adoption, FailureKind, Notice, Observed, Plan, Refusal, StreamError, Streams,
};

use crate::error::Error;
use crate::given::Words;

/// How long a server may take to name a stream.
const ANSWER: Duration = Duration::from_secs(10);

/// A server that is being reached.
pub(crate) struct Server {
    pub(crate) client: async_nats::Client,
    streams: Streams,
    source: JetStreamSource,
    words: Words,
    url: String,
    /// Why it refuses us.
    trouble: Arc<Mutex<Option<String>>>,
    hint: &'static str,
}

impl Server {
    /// `name` is for the server; `hint` says what to do when nobody answers; `words` are the user's for the source.
    pub(crate) async fn connect(
        source: &JetStreamSource,
        name: &str,
        words: Words,
        hint: &'static str,
    ) -> Result<Self, Error> {
        let trouble = Arc::<Mutex<Option<String>>>::default();
        let noted = Arc::clone(&trouble);
        let access = Access::from(source);
        let asked = source.clone();
        let connection = wsgateway_nats::connect(&access, name, move |notice| {
            let trouble = match notice {
                Notice::Failed(failure) if failure.kind != FailureKind::Unreachable => {
                    failure.message
                }
                Notice::Complaint(text) => format!("the NATS server says: {text}"),
                _ => return,
            };
            let trouble = words.say(&asked, &trouble);
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        });
        let client = connection.await?.client;
        let streams = Streams::new(client.clone(), Some(&source.api_prefix));
        let url = source.servers.join(", ");
        Ok(Self { client, streams, source: source.clone(), words, url, trouble, hint })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn observe(&self, stream: &str) -> Result<Option<Observed>, Error> {
        self.streams.observe(stream).await.map_err(|error| self.failed(stream, error))
    }

    pub(crate) async fn apply(&self, stream: &str, plan: &Plan) -> Result<(), Error> {
        self.streams.apply(plan).await.map(drop).map_err(|error| self.failed(stream, error))
    }

    /// The stream that takes a subject.
    pub(crate) async fn stream_of(&self, subject: &str) -> Result<Option<String>, Error> {
        let context = async_nats::jetstream::new(self.client.clone());
        let asked = tokio::time::timeout(ANSWER, context.stream_by_subject(subject)).await;
        match asked {
            Ok(Ok(stream)) => Ok(Some(stream)),
            Ok(Err(error)) if error.kind() != GetStreamByNameErrorKind::Request => Ok(None),
            Ok(Err(_)) | Err(_) => Err(self.failed(subject, StreamError::Unreachable)),
        }
    }

    pub(crate) fn refused(&self, stream: &str, refusal: Refusal) -> Error {
        Error::Refused { stream: stream.to_owned(), url: self.url.clone(), refusal }
    }

    /// Why it refuses us, if it has said so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn failed(&self, stream: &str, source: StreamError) -> Error {
        let url = self.url.clone();
        match source {
            StreamError::Unreachable => match self.trouble() {
                Some(trouble) => Error::Refusing { trouble, hint: self.hint },
                None => Error::Unreachable { url, hint: self.hint },
            },
            error => {
                let message = self.words.say(&self.source, &error.to_string());
                Error::Stream { stream: stream.to_owned(), url, message }
            }
        }
    }
}

pub(crate) fn policy(policy: AdoptionPolicy) -> Adoption {
    match policy {
        AdoptionPolicy::Fail => Adoption::Fail,
        AdoptionPolicy::Adopt => Adoption::Adopt,
        AdoptionPolicy::Observe => Adoption::Observe,
    }
}
