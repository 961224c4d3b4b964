//! A load balancer node's connections to its targets: kept alive and reused, one request at a time each.
//! Never repeats a request: what a target did not answer is the client's to know.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::gate::Gate;
use super::instance::BUFFER;

/// Idle connections kept per target; more are closed after use.
const IDLE_PER_TARGET: usize = 256;

/// Why a target did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// It refused the connection.
    NotConnected,
    /// It did not accept the connection in time.
    ConnectTimeout,
    /// It closed the connection before the answer was complete.
    Broken,
}

/// Idle connections by target.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<HashMap<Ipv4Addr, Vec<SendRequest<Incoming>>>>);

impl Pool {
    /// Forgets the idle connections to other targets than these.
    pub(crate) fn keep_only(&self, targets: &[Ipv4Addr]) {
        self.idle().retain(|target, _| targets.contains(target));
    }

    /// Sends one request to `target` and reads the whole answer.
    pub(crate) async fn send(
        &self,
        gate: &Arc<Gate>,
        source: Ipv4Addr,
        target: SocketAddrV4,
        connect_timeout: Duration,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Unanswered> {
        let mut sender = match self.take(*target.ip()).await {
            Some(sender) => sender,
            None => connect(gate, source, target, connect_timeout).await?,
        };
        let response = sender.send_request(request).await.map_err(|_| Unanswered::Broken)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Unanswered::Broken)?.to_bytes();
        self.put(*target.ip(), sender);
        Ok(Response::from_parts(head, Full::new(body)))
    }

    async fn take(&self, target: Ipv4Addr) -> Option<SendRequest<Incoming>> {
        loop {
            let mut sender = self.idle().get_mut(&target)?.pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn put(&self, target: Ipv4Addr, sender: SendRequest<Incoming>) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle();
        let kept = idle.entry(target).or_default();
        if kept.len() < IDLE_PER_TARGET {
            kept.push(sender);
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, Vec<SendRequest<Incoming>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(
    gate: &Arc<Gate>,
    source: Ipv4Addr,
    target: SocketAddrV4,
    limit: Duration,
) -> Result<SendRequest<Incoming>, Unanswered> {
    let stream = tokio::time::timeout(limit, gate.connect(source, target))
        .await
        .map_err(|_| Unanswered::ConnectTimeout)?
        .map_err(|_| Unanswered::NotConnected)?;
    let (sender, connection) = Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Unanswered::NotConnected)?;
    tokio::spawn(connection);
    Ok(sender)
}
