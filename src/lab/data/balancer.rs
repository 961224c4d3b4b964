//! An Application Load Balancer: one node per AZ, each a keep-alive HTTP/1.1 reverse proxy over all targets.
//! Which targets are healthy is found out in `health`; registering them is Auto Scaling's business.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use super::gate::{Gate, GatedListener, GatedStream};
use super::instance::BUFFER;
use super::stats::{LoadBalancerMinute, Recorder};
use super::upstream::{Pool, Unanswered};
use crate::lab::Lab;
use crate::lab::world::{InstanceState, World};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How often routing follows the registered targets, in real time, when nothing tells it to.
const REFRESH: Duration = Duration::from_millis(50);

/// A load balancer with its nodes.
#[derive(Debug)]
pub(crate) struct Balancer {
    /// Region name.
    pub(crate) region: String,
    /// LoadBalancerArn.
    pub(crate) arn: String,
    /// The target group its listener forwards to.
    pub(crate) target_group_arn: String,
    /// One per AZ.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// Tells it that targets changed.
    pub(crate) refresh: Notify,
    routes: RwLock<Arc<Routes>>,
    cursor: AtomicUsize,
    idle_timeout: Duration,
    connect_timeout: Duration,
    counts: Counts,
    latency: Recorder,
}

/// A load balancer's node in one AZ.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its subnet.
    pub(crate) gate: Arc<Gate>,
    /// Where it listens and what it connects from.
    pub(crate) address: Ipv4Addr,
    pool: Pool,
}

/// Where requests go now.
#[derive(Debug, Default, PartialEq)]
struct Routes {
    targets: Vec<Ipv4Addr>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    target: [AtomicU64; 6],
    elb_502: AtomicU64,
    elb_503: AtomicU64,
    elb_504: AtomicU64,
    connection_errors: AtomicU64,
}

impl Balancer {
    pub(crate) fn new(
        lab: &Lab,
        region: &str,
        arn: &str,
        target_group_arn: &str,
        nodes: Vec<(Arc<Gate>, Ipv4Addr)>,
    ) -> Self {
        let patience = |cloud| lab.clock.pace().patience(cloud);
        Self {
            region: region.to_owned(),
            arn: arn.to_owned(),
            target_group_arn: target_group_arn.to_owned(),
            nodes: nodes
                .into_iter()
                .map(|(gate, address)| {
                    Arc::new(Node {
                        gate,
                        address,
                        pool: Pool::default(),
                    })
                })
                .collect(),
            refresh: Notify::new(),
            routes: RwLock::default(),
            cursor: AtomicUsize::new(0),
            idle_timeout: patience(lab.config.load_balancer.idle_timeout),
            connect_timeout: patience(lab.config.load_balancer.connect_timeout),
            counts: Counts::default(),
            latency: Recorder::new(),
        }
    }

    /// Binds every node and begins to serve.
    pub(crate) fn start(self: &Arc<Self>, lab: &Arc<Lab>, port: u16) -> std::io::Result<()> {
        let listeners = self
            .nodes
            .iter()
            .map(|node| {
                Ok((
                    Arc::clone(node),
                    node.gate.listen(SocketAddrV4::new(node.address, port))?,
                ))
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        self.follow(&lab.world());
        for (node, listener) in listeners {
            tokio::spawn(Arc::clone(self).accept(node, listener, port));
        }
        tokio::spawn(Arc::clone(self).keep_following(Arc::clone(lab)));
        Ok(())
    }

    async fn keep_following(self: Arc<Self>, lab: Arc<Lab>) {
        loop {
            let _ = tokio::time::timeout(REFRESH, self.refresh.notified()).await;
            self.follow(&lab.world());
        }
    }

    /// Takes the targets over from the world: the healthy ones, or all when none is healthy (fail open). Those that
    /// are draining or whose instance is not running get nothing new.
    fn follow(&self, world: &World) {
        let Some(region) = world.regions.get(&self.region) else {
            return;
        };
        let Some(group) = region.target_groups.get(&self.target_group_arn) else {
            return;
        };
        let running = |id: &str| {
            region
                .instances
                .get(id)
                .is_some_and(|instance| instance.state == InstanceState::Running)
        };
        let usable: Vec<_> = group
            .targets
            .values()
            .filter(|target| !["draining", "unused"].contains(&target.state.as_str()) && running(&target.instance_id))
            .collect();
        let healthy: Vec<Ipv4Addr> = usable
            .iter()
            .filter(|target| target.state == "healthy")
            .map(|target| target.address)
            .collect();
        let targets = if healthy.is_empty() {
            usable.iter().map(|target| target.address).collect()
        } else {
            healthy
        };
        let routes = Routes { targets };
        let mut current = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if **current != routes {
            for node in &self.nodes {
                node.pool.keep_only(&routes.targets);
            }
            *current = Arc::new(routes);
        }
    }

    fn pick(&self) -> Option<Ipv4Addr> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        routes.targets.get(turn.checked_rem(routes.targets.len())?).copied()
    }

    async fn accept(self: Arc<Self>, node: Arc<Node>, listener: GatedListener, port: u16) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    drop(tokio::spawn(Arc::clone(&self).connection(
                        Arc::clone(&node),
                        stream,
                        peer,
                        port,
                    )));
                }
                // Out of descriptors: wait for some to be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, node: Arc<Node>, stream: GatedStream, peer: SocketAddr, port: u16) {
        let forwarded_for = HeaderValue::from_str(&peer.ip().to_string()).ok();
        let activity = Activity::default();
        let service = service_fn(|request| {
            let (balancer, node, forwarded_for) = (&self, &node, &forwarded_for);
            let busy = activity.begin();
            async move {
                let _busy = busy;
                Ok::<_, Infallible>(balancer.forward(node, port, request, forwarded_for.clone()).await)
            }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .auto_date_header(false)
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            _ = connection.as_mut() => return,
            () = activity.idle_for(self.idle_timeout) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    async fn forward(
        &self,
        node: &Node,
        port: u16,
        mut request: Request<Incoming>,
        forwarded_for: Option<HeaderValue>,
    ) -> Response<Full<Bytes>> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let Some(target) = self.pick() else {
            return self.refuse(StatusCode::SERVICE_UNAVAILABLE);
        };
        request.headers_mut().remove(CONNECTION);
        if let Some(forwarded_for) = forwarded_for {
            request.headers_mut().insert(FORWARDED_FOR, forwarded_for);
        }
        let began = Instant::now();
        let exchange = node.pool.send(
            &node.gate,
            node.address,
            SocketAddrV4::new(target, port),
            self.connect_timeout,
            request,
        );
        match tokio::time::timeout(self.idle_timeout, exchange).await {
            Ok(Ok(mut response)) => {
                self.latency.record(began.elapsed());
                let class = usize::from(response.status().as_u16() / 100).min(5);
                self.counts.target[class].fetch_add(1, Ordering::Relaxed);
                response.headers_mut().remove(CONNECTION);
                response
            }
            Ok(Err(Unanswered::NotConnected)) => {
                self.counts.connection_errors.fetch_add(1, Ordering::Relaxed);
                self.refuse(StatusCode::BAD_GATEWAY)
            }
            Ok(Err(Unanswered::Broken)) => self.refuse(StatusCode::BAD_GATEWAY),
            Ok(Err(Unanswered::ConnectTimeout)) => {
                self.counts.connection_errors.fetch_add(1, Ordering::Relaxed);
                self.refuse(StatusCode::GATEWAY_TIMEOUT)
            }
            Err(_) => self.refuse(StatusCode::GATEWAY_TIMEOUT),
        }
    }

    fn refuse(&self, status: StatusCode) -> Response<Full<Bytes>> {
        let counter = match status {
            StatusCode::BAD_GATEWAY => &self.counts.elb_502,
            StatusCode::GATEWAY_TIMEOUT => &self.counts.elb_504,
            _ => &self.counts.elb_503,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let page = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
        );
        let mut response = Response::new(Full::new(Bytes::from(page)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response
            .headers_mut()
            .insert(SERVER, HeaderValue::from_static("awselb/2.0"));
        response
    }

    pub(crate) fn take_minute(&self) -> LoadBalancerMinute {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let (elb_502, elb_503, elb_504) = (
            take(&self.counts.elb_502),
            take(&self.counts.elb_503),
            take(&self.counts.elb_504),
        );
        LoadBalancerMinute {
            requests: take(&self.counts.requests),
            target_2xx: take(&self.counts.target[2]),
            target_4xx: take(&self.counts.target[4]),
            target_5xx: take(&self.counts.target[5]),
            elb_5xx: elb_502 + elb_503 + elb_504,
            elb_502,
            elb_503,
            elb_504,
            target_connection_errors: take(&self.counts.connection_errors),
            latency: self.latency.take(),
        }
    }
}

/// When a client connection was last used.
#[derive(Debug)]
struct Activity {
    open: AtomicUsize,
    last: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
        }
    }
}

struct Busy<'a>(&'a Activity);

impl Activity {
    fn begin(&self) -> Busy<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// Resolves when no request was open for `limit`.
    async fn idle_for(&self, limit: Duration) {
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = last.elapsed();
            if self.open.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(limit).await;
            } else if idle >= limit {
                return;
            } else {
                tokio::time::sleep(limit - idle).await;
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
