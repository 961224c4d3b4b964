//! The AWS endpoint: wire protocols in front of the world, one file per service, as in `aws/`.
//! It reads the world and passes changes on to `dynamics`; nothing here moves by itself. Signatures are not verified,
//! only their scope is read, and nothing of a request's credentials is kept.

mod arczonalshift;
mod autoscaling;
mod cbor;
mod cloudwatch;
mod ec2;
mod elasticloadbalancingv2;
mod fis;
mod iam;
mod json;
mod manners;
mod page;
mod past;
mod query;
mod rds;
mod route53;
mod sts;
mod tags;
#[cfg(test)]
mod tests;
mod value;
mod wire;
mod xml;

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::Lab;
use super::error::AwsError;
use super::world::{CloudTime, World};
use manners::{Caller, Manners, Treatment};
use past::Past;
use value::Value;
use wire::{Incomplete, Protocol};

/// Largest body that is read.
const LARGEST_BODY: usize = 1024 * 1024;
/// Pause after an `accept` that failed, which means that descriptors have run out.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// One operation asked for, decoded.
struct Call<'c> {
    lab: &'c Arc<Lab>,
    /// The world that it is answered from, where that is not the present.
    past: Option<Arc<World>>,
    /// Cloud time at which it arrived.
    now: CloudTime,
    /// The Region it was signed for.
    region: &'c str,
    action: &'c str,
    input: Value,
    /// The query string, of `restXml` and `restJson1` only.
    query: Value,
    /// Ids in the path, of `restXml` and `restJson1` only.
    path_ids: Vec<String>,
    protocol: Protocol,
    /// Whose assumed role it was signed with, if any.
    session: Option<sts::Session>,
}

/// The world as a call sees it.
enum Seen<'w> {
    Present(MutexGuard<'w, World>),
    Past(&'w World),
}

impl Deref for Seen<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        match self {
            Seen::Present(world) => world,
            Seen::Past(world) => world,
        }
    }
}

impl Call<'_> {
    /// The world as this call sees it: for one that reads, perhaps a little old.
    fn world(&self) -> Seen<'_> {
        match &self.past {
            Some(world) => Seen::Past(world),
            None => Seen::Present(self.lab.world()),
        }
    }

    fn unknown(&self, action: &str) -> AwsError {
        AwsError::bad_request(
            "InvalidAction",
            format!("The action {action} is not valid for this endpoint."),
        )
    }

    fn unknown_region(&self) -> AwsError {
        AwsError::bad_request("AuthFailure", format!("There is no Region {} here.", self.region))
    }

    /// Whether the answer is XML of `awsQuery`, which has no maps.
    fn is_query(&self) -> bool {
        self.protocol == Protocol::AwsQuery
    }
}

/// What the endpoint keeps between calls.
struct Desk {
    manners: Manners,
    past: Past,
}

/// Answers AWS's protocols on `listener` for as long as the runtime lives.
pub async fn serve(lab: Arc<Lab>, listener: TcpListener) {
    let desk = Arc::new(Desk {
        manners: Manners::new(&lab.config.control_plane),
        past: Past::default(),
    });
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers must not wait for the peer's acknowledgements.
        let _ = stream.set_nodelay(true);
        let (lab, desk) = (lab.clone(), desk.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(lab.clone(), desk.clone(), request));
            let mut server = hyper::server::conn::http1::Builder::new();
            // A client that goes away mid-request concerns only itself.
            let _ = server
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

async fn handle(lab: Arc<Lab>, desk: Arc<Desk>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let request_id = lab.uuid();
    let guess = wire::guess_protocol(&head);
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let error = match error.downcast_ref::<LengthLimitError>() {
                Some(_) => AwsError::new("RequestEntityTooLarge", "The request body is too large", 413),
                None => AwsError::bad_request("IncompleteBody", "The request body ended too early"),
            };
            return Ok(wire::failure(guess, "", &error, &request_id));
        }
    };
    let (scope, asked) = match wire::read(&head, &body) {
        Ok(read) => read,
        Err(Incomplete {
            protocol,
            action,
            error,
        }) => {
            return Ok(wire::failure(protocol, &action, &error, &request_id));
        }
    };
    let service = scope.service.as_str();
    let token = head
        .headers
        .get("x-amz-security-token")
        .and_then(|token| token.to_str().ok());
    let session = token.and_then(sts::Session::of_token);
    if let Some(Err(error)) = session.as_ref().map(sts::Session::check) {
        return Ok(wire::failure(asked.protocol, service, &error, &request_id));
    }
    let role = session.as_ref().and_then(sts::Session::role);
    let caller = Caller {
        region: &scope.region,
        service,
        role,
    };
    let treatment = desk.manners.treat(&lab, &caller, &asked.action);
    let silently = matches!(treatment, Treatment::ServeSilently);
    match treatment {
        Treatment::Serve | Treatment::ServeSilently => {}
        Treatment::Refuse(error) => return Ok(wire::failure(asked.protocol, service, &error, &request_id)),
        Treatment::NeverAnswer => std::future::pending().await,
    }
    let action = asked.action;
    let call = Call {
        lab: &lab,
        past: desk.past.seen(&lab, service, &action),
        now: lab.now(),
        region: &scope.region,
        action: &action,
        input: asked.input,
        query: asked.query,
        path_ids: asked.path_ids,
        protocol: asked.protocol,
        session,
    };
    let answer = dispatch(service, &call);
    if silently {
        std::future::pending::<()>().await;
    }
    Ok(match answer {
        Ok(answer) => wire::success(call.protocol, service, &action, answer, &request_id),
        Err(error) => wire::failure(call.protocol, service, &error, &request_id),
    })
}

fn dispatch(service: &str, call: &Call<'_>) -> Result<Value, AwsError> {
    match service {
        "ec2" => ec2::answer(call),
        "autoscaling" => autoscaling::answer(call),
        "elasticloadbalancing" => elasticloadbalancingv2::answer(call),
        "rds" => rds::answer(call),
        "monitoring" => cloudwatch::answer(call),
        "route53" => route53::answer(call),
        "iam" => iam::answer(call),
        "fis" => fis::answer(call),
        "arc-zonal-shift" => arczonalshift::answer(call),
        "sts" => sts::answer(call),
        other => Err(AwsError::bad_request(
            "InvalidAction",
            format!("The service {other} is not answered here."),
        )),
    }
}
