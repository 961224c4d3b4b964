//! An instance's application: an HTTP/1.1 shop with a health page, products and orders, as slow as its capacity says.
//! Starts and ends when told to; knows neither Auto Scaling nor the load balancer.

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::capacity::Capacity;
use super::database::{Database, DatabaseError, Order, ResolvedEndpoint};
use super::disk::Disk;
use super::gate::{Gate, GatedListener, GatedStream};
use super::stats::InstanceMinute;
use crate::clock::Clock;
use crate::lab::config::LabConfig;

/// The header that says which instance, AZ and Region answered.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// Enough for heads and orders; keeps thousands of connections small.
pub(crate) const BUFFER: usize = 16 * 1024;
const LARGEST_BODY: usize = 64 * 1024;

/// A serving instance.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Its id.
    pub(crate) id: String,
    /// Its subnet.
    pub(crate) gate: Arc<Gate>,
    /// Where it writes its log.
    pub(crate) disk: Arc<Disk>,
    stop: CancellationToken,
    served_by: HeaderValue,
    capacity: Mutex<Capacity>,
    requests: AtomicU64,
    database: Option<Arc<Database>>,
    resolved: ResolvedEndpoint,
    statements: AtomicU32,
    connections: u32,
    endpoint_ttl: Duration,
    statement_timeout: Duration,
    clock: Clock,
}

impl Instance {
    pub(crate) fn new(
        id: &str,
        gate: Arc<Gate>,
        config: &LabConfig,
        clock: Clock,
        database: Option<Arc<Database>>,
        disk: Arc<Disk>,
        seed: u64,
    ) -> Self {
        let web = &config.web;
        let served_by = format!("{id}/{}/{}", gate.az, gate.region);
        Self {
            id: id.to_owned(),
            stop: CancellationToken::new(),
            served_by: HeaderValue::from_str(&served_by).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            capacity: Mutex::new(Capacity::new(
                Instant::now(),
                web.workers,
                web.queue,
                web.service_time,
                web.service_sigma,
                seed,
            )),
            requests: AtomicU64::new(0),
            disk,
            database,
            resolved: ResolvedEndpoint::new(),
            statements: AtomicU32::new(0),
            connections: config.database.connections,
            endpoint_ttl: config.database.endpoint_ttl,
            statement_timeout: clock.pace().patience(config.database.statement_timeout),
            clock,
            gate,
        }
    }

    /// Listens and serves until stopped.
    pub(crate) fn start(self: &Arc<Self>, address: SocketAddrV4) -> std::io::Result<()> {
        let listener = self.gate.listen(address)?;
        tokio::spawn(Arc::clone(self).accept(listener));
        Ok(())
    }

    /// Ends it: the listener goes and every connection is reset.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn take_minute(&self) -> InstanceMinute {
        let busy = self
            .capacity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_busy(Instant::now());
        InstanceMinute {
            busy,
            requests: self.requests.swap(0, Ordering::Relaxed),
        }
    }

    async fn accept(self: Arc<Self>, listener: GatedListener) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).connection(stream))),
                    // Out of descriptors: wait for some to be closed.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: GatedStream) {
        let resetter = stream.resetter();
        let service = service_fn(|request| self.answer(request));
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .auto_date_header(false)
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            biased;
            () = self.stop.cancelled() => resetter.reset_on_close(),
            // A peer that went away is no concern of the application.
            _ = connection.as_mut() => {}
        }
    }

    /// Answers once the line about it is in the log.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let response = self.response(request).await;
        self.disk.write().await;
        Ok(response)
    }

    async fn response(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == "/health" {
            return self.respond(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}"));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let admitted = self
            .capacity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(Instant::now());
        let Some(done) = admitted else {
            return self.failure(StatusCode::SERVICE_UNAVAILABLE, "too busy");
        };
        tokio::time::sleep_until(done.into()).await;
        let order = path
            .strip_prefix("/orders/")
            .filter(|id| !id.is_empty())
            .map(str::to_owned);
        match (request.method(), path, order) {
            (&Method::GET, "/", _) => self.respond(
                StatusCode::OK,
                Bytes::from_static(b"{\"shop\":\"open\",\"products\":500}"),
            ),
            (&Method::GET, path, _) if path.starts_with("/products/") => self.product(&path["/products/".len()..]),
            (&Method::POST, "/orders", _) => self.take_order(request.into_body()).await,
            (&Method::GET, _, Some(id)) => self.show_order(&id).await,
            _ => self.failure(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    fn product(&self, id: &str) -> Response<Full<Bytes>> {
        let id = Value::from(id);
        self.respond(
            StatusCode::OK,
            format!("{{\"id\":{id},\"name\":\"Product\",\"price\":\"19.99\"}}").into(),
        )
    }

    async fn take_order(&self, body: Incoming) -> Response<Full<Bytes>> {
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return self.failure(StatusCode::BAD_REQUEST, "the order could not be read");
        };
        let order: Option<(String, Value)> = serde_json::from_slice(&body.to_bytes()).ok().and_then(|order: Value| {
            let id = order.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned();
            Some((id, order.get("item")?.clone()))
        });
        let Some((id, item)) = order else {
            return self.failure(StatusCode::BAD_REQUEST, "an order is JSON with an id and an item");
        };
        let record = Order { item: item.to_string() };
        let written = self
            .statement(async |database, address| database.write(address, &id, record).await)
            .await;
        match written {
            Ok(()) => self.respond(StatusCode::CREATED, format!("{{\"id\":{}}}", Value::from(id)).into()),
            Err(why) => self.failure(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    async fn show_order(&self, id: &str) -> Response<Full<Bytes>> {
        let read = self
            .statement(async |database, address| database.read(address, id).await)
            .await;
        match read {
            Ok(Some(order)) => {
                let body = format!("{{\"id\":{},\"item\":{}}}", Value::from(id), order.item);
                self.respond(StatusCode::OK, body.into())
            }
            Ok(None) => self.failure(StatusCode::NOT_FOUND, "no such order"),
            Err(why) => self.failure(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    /// Runs one statement on a pooled connection. Waiting for the database holds no worker, as in an asynchronous
    /// application, but it holds a connection.
    async fn statement<T>(
        &self,
        run: impl AsyncFnOnce(&Database, std::net::Ipv4Addr) -> Result<T, DatabaseError>,
    ) -> Result<T, &'static str> {
        let database = self.database.as_deref().ok_or("no database")?;
        let _held = HeldConnection::take(&self.statements, self.connections).ok_or("no free database connection")?;
        let statement = async {
            self.gate.passes().await;
            let address = self
                .resolved
                .address(database, self.clock.cloud_unix(), self.endpoint_ttl);
            if let Some(region) = database.region_of(address) {
                self.gate.reaches(region).await;
            }
            run(database, address).await
        };
        match tokio::time::timeout(self.statement_timeout, statement).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(DatabaseError::Reset)) => Err("the database reset the connection"),
            Ok(Err(DatabaseError::Refused)) => Err("the database refused the connection"),
            Err(_) => Err("the database did not answer"),
        }
    }

    fn failure(&self, status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
        self.respond(status, format!("{{\"error\":\"{why}\"}}").into())
    }

    fn respond(&self, status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(SERVED_BY, self.served_by.clone());
        response
    }
}

struct HeldConnection<'a>(&'a AtomicU32);

impl<'a> HeldConnection<'a> {
    fn take(held: &'a AtomicU32, most: u32) -> Option<Self> {
        let taken = Self(held);
        (held.fetch_add(1, Ordering::Relaxed) < most).then_some(taken)
    }
}

impl Drop for HeldConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
