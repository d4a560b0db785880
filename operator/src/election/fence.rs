//! The fence: a client whose requests that change something go out only while the Lease is held.
//!
//! It stands around the client and not around each call, so that no write can be forgotten. Reading is free: candidates
//! keep their watches running. What comes back of WsGateways is made readable here, too.

use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use tower_service::Service;

use super::lead::Lead;
use crate::shallow::{self, Answer};

/// As `Client::new` takes them.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `client`, whose writes need the lead.
pub(crate) fn fenced(client: Client, lead: Lead) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Fence { client, lead }, namespace)
}

struct Fence {
    client: Client,
    lead: Lead,
}

impl Service<Request<Body>> for Fence {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, lead) = (self.client.clone(), self.lead.clone());
        let is_open = shallow::is_open(request.uri().path());
        async move {
            let response = if only_reads(request.method()) {
                client.send(request).await?
            } else {
                lead.while_held(client.send(request)).await??
            };
            Ok(shallow::readable(response, is_open))
        }
        .boxed()
    }
}

fn only_reads(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_but_those_that_read_needs_the_lead() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::CONNECT] {
            assert!(!only_reads(&method), "{method}");
        }
        assert!(only_reads(&Method::GET));
    }
}
