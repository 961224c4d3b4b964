//! How far an endpoint's clock is from ours, by the `Date` of an answer. To the second, which is all that `Date` says.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{DATE, HOST};

use crate::clock::unix;
use crate::plan::{Entry, TlsSettings};
use crate::run::http1::Connection;
use crate::run::tls::Tls;

/// Real time for the connection, and for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
#[error("{host} does not tell the time: {why}")]
pub struct NoClock {
    host: String,
    why: String,
}

/// Seconds by which the clock of `url`'s server is ahead of ours, at the middle of the exchange.
pub async fn clock_offset(url: &str) -> Result<f64, NoClock> {
    let entry = Entry::read(url).map_err(|error| no_clock(url, error.message))?;
    asked(&entry).await.map_err(|why| no_clock(&entry.host, why))
}

fn no_clock(host: &str, why: impl Into<String>) -> NoClock {
    NoClock {
        host: host.to_owned(),
        why: why.into(),
    }
}

async fn asked(entry: &Entry) -> Result<f64, String> {
    let found = tokio::net::lookup_host((entry.host.as_str(), entry.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.collect();
    let address = *addresses.first().ok_or("it has no address")?;
    let tls = match entry.scheme.as_str() {
        "https" => Some(Tls::to_host(&entry.host, &TlsSettings::default()).map_err(|error| error.to_string())?),
        _ => None,
    };
    let connection = Connection::open(address, PATIENCE, tls.as_ref()).await;
    let mut connection = connection.map_err(|failure| format!("{failure:?} at {address}"))?;
    let request = Request::builder().uri("/").header(HOST, &entry.host);
    let request = request
        .body(Full::<Bytes>::default())
        .map_err(|error| error.to_string())?;
    let before = unix(SystemTime::now());
    let answer = connection.send(request, PATIENCE).await;
    let answer = answer.map_err(|failure| format!("{failure:?} at {address}"))?;
    let after = unix(SystemTime::now());
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.ok_or("its answer has no Date")?;
    let told = jiff::fmt::rfc2822::parse(date).map_err(|error| error.to_string())?;
    // Within its second it may be any instant.
    let told = told.timestamp().as_second() as f64 + 0.5;
    Ok(told - (before + after) / 2.0)
}
