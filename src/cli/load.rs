//! `tenfold load`: one URL, no file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::cli::args::LoadArguments;
use crate::cli::control::{Keys, Listening};
use crate::cli::exit::{Exit, Failure};
use crate::cli::limits;
use crate::cli::out;
use crate::cli::progress;
use crate::cli::signals::interrupts;
use crate::cli::target::check_entry;
use crate::clock::Clock;
use crate::config::entry::Entry;
use crate::judge::judge;
use crate::plan::{AdHoc, Amount, Plan, TlsSettings, Wait};
use crate::recording::{Ended, Recording};
use crate::report::{self, LoadSummary};
use crate::run;
use crate::run::control::{self, Control};
use crate::run::director::{self, Keep, Setup};
use crate::units::{DURATION_MAX, Pace, format_duration, parse_duration};

/// Users when neither they nor a rate are given.
const USERS: u64 = 50;
/// Connections when none are given, or as many as there are users who do not think: more than are needed leave room for a
/// load that is scaled while it goes on, and are not opened.
const CONNECTIONS: usize = 1_000;

/// Requests a second at most, as in a profile.
const RATE_MAX: f64 = 100_000_000.0;

/// Puts load on one URL.
pub(super) async fn load(arguments: LoadArguments) -> Result<Exit, Failure> {
    let plan = Arc::new(plan(&arguments)?);
    warn_of_templates(&arguments);
    let mut hlog = arguments.hlog.as_deref().map(create).transpose()?;
    let (control, orders) = control::control();
    let listening = arguments.control.as_deref().map(|dir| listen(dir, control.clone()));
    let listening = listening.transpose()?;
    limits::raise();
    limits::check(&plan, &check_entry(&plan).await?)?;
    let quiet = arguments.quiet || arguments.json;
    let keys = if quiet { None } else { Keys::listen(control) };
    let (progress, shown) = progress::follow(&plan, quiet);
    let setup = Setup {
        plan: Arc::clone(&plan),
        clock: Clock::starting_now(Pace::REAL),
        account: None,
        journal: None,
        interrupts: interrupts(None).context("cannot listen for signals")?,
        orders,
        progress,
        // The interval log is written from the seconds.
        keep: if hlog.is_some() { Keep::Seconds } else { Keep::Totals },
    };
    let (recording, _) = director::run(setup).await.map_err(Failure::usage)?;
    drop((keys, listening));
    shown.await.context("the progress view failed")?;
    let summary = LoadSummary::new(&plan, &recording, &judge(&plan, &recording).honesty);
    if let Some(file) = &mut hlog {
        let written = file.write_all(report::hlog(&plan, &recording).as_bytes());
        written.context("cannot write the interval log")?;
    }
    if arguments.json {
        out::line(&summary.json())?;
    } else {
        out::print(&summary.text())?;
    }
    Ok(match recording.ended {
        Ended::Interrupted => Exit::Interrupted,
        _ if summary.intended == 0 => {
            out::tell(
                "warning: every user still thought when the load ended, so nothing was sent\n\
                 hint: give --for longer than --think, or more --users",
            );
            Exit::Inconclusive
        }
        _ if !is_answered(&recording) => Exit::Unreachable,
        _ if summary.generator.spoiled.is_some() => Exit::Inconclusive,
        _ => Exit::Met,
    })
}

/// Whether the target has answered anything; what is none of its protocol is no answer.
fn is_answered(recording: &Recording) -> bool {
    let mut steps = recording.slices.iter().flat_map(|slice| &slice.steps);
    steps.any(|step| step.ok > 0 || step.failed.keys().any(|kind| kind.is_answer()))
}

fn plan(arguments: &LoadArguments) -> Result<Plan, Failure> {
    let Entry {
        scheme,
        host,
        port,
        path,
    } = entry(&arguments.url)?;
    let authorities = arguments.ca.as_deref().map(read_authorities).transpose()?;
    let cores = cores(arguments.cores)?;
    let amount = match (arguments.rate, arguments.users) {
        (Some(rate), _) => Amount::Rate(rate_that_sends(rate, arguments.duration)?),
        (None, users) => Amount::Users(users.map_or(USERS, u64::from)),
    };
    let streams = arguments.http2.then(|| usize::from(arguments.streams));
    let connections = match (arguments.connections, amount) {
        (Some(connections), _) => usize::from(connections),
        (None, Amount::Users(users)) if arguments.think == Wait::default() => usize::try_from(users)
            .unwrap_or(usize::MAX)
            .div_ceil(streams.unwrap_or(1))
            .max(CONNECTIONS),
        (None, _) => CONNECTIONS,
    };
    let headers = arguments.header.iter().map(|header| split_header(header));
    let plan = AdHoc {
        scheme,
        tls: TlsSettings {
            verify: !arguments.insecure,
            authorities,
            ..TlsSettings::default()
        },
        host,
        port,
        path,
        method: match (&arguments.method, &arguments.body) {
            (Some(method), _) => method.to_uppercase(),
            (None, Some(_)) => "POST".to_owned(),
            (None, None) => "GET".to_owned(),
        },
        headers: headers.collect::<Result<_, _>>()?,
        body: body(arguments.body.as_deref())?,
        amount,
        duration: arguments.duration,
        think: arguments.think,
        connections,
        streams,
        cores,
        timeout: arguments.timeout,
        served_by: arguments.served_by.clone(),
        seed: arguments.seed,
    };
    Ok(plan.plan())
}

/// Who knows profiles may expect theirs to be filled in.
fn warn_of_templates(arguments: &LoadArguments) {
    let texts = arguments.header.iter().chain(&arguments.body);
    if texts.chain([&arguments.url]).any(|text| text.contains("{{")) {
        out::tell("warning: `{{` is sent as it stands\nhint: templates are filled in in a profile");
    }
}

/// A rate at which anything is sent before the time is over.
fn rate_that_sends(rate: f64, duration: Duration) -> Result<f64, Failure> {
    if rate * duration.as_secs_f64() >= 1.0 {
        return Ok(rate);
    }
    let needed = format_duration(Duration::from_secs_f64((1.0 / rate).min(DURATION_MAX.as_secs_f64())));
    Err(Failure::usage(anyhow!(
        "at {rate}/s not one request is due in {}\nhint: give --for {needed} at least, or a higher --rate",
        format_duration(duration)
    )))
}

/// A body with its type; `@FILE` is what stands in the file, as users of curl expect.
fn body(given: Option<&str>) -> Result<Option<(String, String)>, Failure> {
    let Some(given) = given else { return Ok(None) };
    let text = match given.strip_prefix('@') {
        None => given.to_owned(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            let hint = "-d @FILE sends a file of UTF-8 text; a profile's `file:` sends any";
            Failure::usage(anyhow!("cannot read the body from {path}: {error}\nhint: {hint}"))
        })?,
    };
    Ok(Some(("application/octet-stream".to_owned(), text)))
}

/// The cores to use; more than there are would only take memory and turns from one another.
fn cores(wanted: Option<u16>) -> Result<usize, Failure> {
    let there_are = run::load::cores();
    match wanted.map(usize::from) {
        Some(cores) if cores > there_are => Err(Failure::usage(anyhow!(
            "--cores {cores} is more than the {there_are} that this process may use\n\
             hint: give at most {there_are}, or leave it out to use them all"
        ))),
        cores => Ok(cores.unwrap_or(there_are)),
    }
}

/// Creates a file before the run that is to fill it, since afterwards a wrong path costs the run.
fn create(path: &Path) -> Result<File, Failure> {
    let file = File::create(path).with_context(|| {
        format!(
            "cannot create {}\nhint: --hlog names a file in a directory that exists",
            path.display()
        )
    });
    file.map_err(Failure::usage)
}

/// Takes commands in a directory, which is made where it is missing.
fn listen(dir: &Path, control: Control) -> Result<Listening, Failure> {
    let listening = std::fs::create_dir_all(dir).and_then(|()| Listening::in_dir(dir, control));
    let listening = listening.with_context(|| {
        format!(
            "cannot listen in {}\n\
             hint: --control names a directory of yours in which no other run listens; a socket's path has at most 107 bytes",
            dir.display()
        )
    });
    listening.map_err(Failure::usage)
}

fn read_authorities(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    text.map_err(Failure::usage)
}

/// A URL; http where it names no scheme.
fn entry(url: &str) -> Result<Entry, Failure> {
    let full = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    Entry::read(&full).map_err(Failure::usage)
}

fn split_header(header: &str) -> Result<(String, String), Failure> {
    match header.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err(Failure::usage(anyhow!(
            "{header:?} is not a header\nhint: write e.g. --header 'accept: text/html'"
        ))),
    }
}

/// A time as `10s`, `1m30s` or `500ms`, but not none at all.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be above zero".to_owned()),
        other => other.map_err(|error| error.to_string()),
    }
}

/// A rate as `5000` or `5_000/s`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).replace('_', "");
    match number.trim().parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(rate),
        _ => Err("a rate is a number of requests a second above zero, at most 100_000_000/s, e.g. 5000/s".to_owned()),
    }
}
