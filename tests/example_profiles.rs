//! Every profile in `profiles/examples` is run as a user would run it, against a server that is particular about what
//! it gets: what is not as the profile says is answered 400, and the profile's own objectives then miss.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::SET_COOKIE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::nginx::Nginx;
use crate::support::{ON_ANY_MACHINE, little_of_the_machine, machine, nowhere_in, tenfold, venv};

/// What the server was asked, by path.
#[derive(Default)]
struct Seen {
    paths: BTreeMap<String, u64>,
    emails: BTreeMap<String, u64>,
    flaky: HashMap<String, u32>,
    /// As they came, for whoever checks their signatures.
    signed: Vec<serde_json::Value>,
    jobs: HashMap<String, Vec<String>>,
    /// Parts of a page under way for each visit, and the most that ever were.
    loading: HashMap<String, (u64, u64)>,
}

impl Seen {
    fn loads(&mut self, visit: &str) {
        let (now, most) = self.loading.entry(visit.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn has_loaded(&mut self, visit: &str) {
        self.loading.entry(visit.to_owned()).or_default().0 -= 1;
    }
}

struct Shop {
    url: String,
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

fn shop() -> Shop {
    shop_over(None)
}

/// Over TLS where there is an acceptor.
fn shop_over(tls: Option<TlsAcceptor>) -> Shop {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    runtime.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let (seen, tls) = (Arc::clone(&shared), tls.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let seen = Arc::clone(&seen);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        let request = Request::from_parts(head, body);
                        if request.uri().path().starts_with("/assets/") {
                            let visit = header(&request, "cookie");
                            seen.lock().expect("no test panics with it").loads(visit);
                            tokio::time::sleep(ASSET_TAKES).await;
                            seen.lock().expect("no test panics with it").has_loaded(visit);
                        }
                        Ok::<_, Infallible>(answer(&seen, &request))
                    }
                });
                let server = hyper::server::conn::http1::Builder::new();
                // A client that goes away is no concern of this server.
                match tls {
                    None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            drop(server.serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                }
            });
        }
    });
    Shop {
        url: format!("{scheme}://{address}"),
        seen,
        _runtime: runtime,
    }
}

fn answer(seen: &Mutex<Seen>, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let mut seen = seen.lock().expect("no test panics with it");
    let path = request.uri().path();
    *seen.paths.entry(path.to_owned()).or_default() += 1;
    if path.starts_with("/signed/") {
        return signed(&mut seen.signed, request);
    }
    if path == "/catalogue" {
        return catalogue(request, seen.paths[path]);
    }
    if let Some(answer) = page(&seen, request) {
        return answer;
    }
    let (status, body) = match path {
        "/import" => (import(request), String::new()),
        "/login" => login(&mut seen, request.body()),
        "/me" => me(request),
        "/photos" => photos(request),
        "/raw" if request.body()[..] == *PHOTO && header(request, "content-type") == "image/png" => {
            (201, String::new())
        }
        "/flaky" => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let attempts = seen.flaky.entry(query).or_default();
            *attempts += 1;
            // Every third request fails once.
            let fails = *attempts == 1 && seen.flaky.len().is_multiple_of(3);
            (if fails { 503 } else { 200 }, String::new())
        }
        "/start" | "/hop" | "/leave" | "/loop" | "/away" => (302, String::new()),
        "/welcome" if header(request, "cookie") == "lang=en; visit=7" => (200, "welcome".to_owned()),
        "/cart" if request.method() == "POST" && request.body().starts_with(b"item=") => (303, String::new()),
        "/cart/7"
            if request.method() == "GET" && request.body().is_empty() && !header(request, "cookie").is_empty() =>
        {
            (200, "1 item".to_owned())
        }
        "/" => (200, "hello".to_owned()),
        jobs if jobs.starts_with("/jobs") => self::jobs(&mut seen, jobs),
        "/orders" => (201, String::new()),
        order if order.starts_with("/orders/") => (200, String::new()),
        _ => (400, String::new()),
    };
    let mut answer = Response::new(Full::from(body));
    if let Some((location, cookie)) = leads_to(request) {
        let headers = answer.headers_mut();
        headers.insert("location", location.parse().expect("a location"));
        headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie.parse().expect("a cookie"))));
    }
    *answer.status_mut() = status.try_into().expect("a status");
    answer
}

/// How long each asset of a page takes.
const ASSET_TAKES: Duration = Duration::from_millis(40);

/// A page and what it needs: each visit is known by its cookie, and by another one once its user is known.
fn page(seen: &Seen, request: &Request<Bytes>) -> Option<Response<Full<Bytes>>> {
    let (path, cookie) = (request.uri().path(), header(request, "cookie"));
    let visit = cookie.split(';').next().and_then(|first| first.strip_prefix("visit="));
    let visit = visit.unwrap_or_default();
    let whole = format!("visit={visit}; user={visit}");
    let number = seen.paths.get("/page").copied().unwrap_or_default();
    let (fine, cookie, body) = match path.trim_start_matches('/').split('/').next()? {
        "page" => (
            cookie.is_empty(),
            Some(format!("visit={number}")),
            "build=42".to_owned(),
        ),
        // No part knows the cookies that another was sent.
        "assets" => {
            let asked = request.uri().query() == Some("build=42") && cookie == format!("visit={visit}");
            (asked, None, String::new())
        }
        "api" if path == "/api/user" => (
            cookie == format!("visit={visit}"),
            Some(format!("user={visit}")),
            format!(r#"{{"id":"{visit}"}}"#),
        ),
        "api" => (
            path == format!("/api/basket/{visit}") && cookie == whole,
            None,
            String::new(),
        ),
        "checkout" => (
            path == format!("/checkout/{visit}") && cookie == whole,
            None,
            String::new(),
        ),
        _ => return None,
    };
    let mut answer = Response::builder().status(if fine { 200 } else { 400 });
    if let Some(cookie) = cookie {
        answer = answer.header(SET_COOKIE, cookie);
    }
    Some(answer.body(Full::from(body)).expect("an answer"))
}

/// Takes down what came; one path leads elsewhere, and there one of twenty has to ask again.
fn signed(seen: &mut Vec<serde_json::Value>, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    use base64::Engine as _;
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| [name.as_str(), value.to_str().expect("a text")])
        .collect();
    seen.push(serde_json::json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
        "body": base64::engine::general_purpose::STANDARD.encode(request.body()),
    }));
    let here = |request: &&serde_json::Value| request["target"].as_str().is_some_and(|path| path.contains("/here"));
    let turns = seen.iter().filter(here).count();
    let (status, location) = match request.uri().path() {
        "/signed/moved" => (302, Some("/signed/here%20now?b=2&a=1")),
        "/signed/here%20now" if turns.is_multiple_of(20) => (503, None),
        _ if request.method() == "PUT" => (201, None),
        _ => (200, None),
    };
    let mut builder = Response::builder().status(status);
    if let Some(location) = location {
        builder = builder.header("location", location);
    }
    builder.body(Full::default()).expect("an answer")
}

/// Three kilobytes of JSON in every coding in turn, as long as all are asked for.
fn catalogue(request: &Request<Bytes>, turn: u64) -> Response<Full<Bytes>> {
    let items: Vec<_> = (100..200)
        .map(|id| serde_json::json!({ "id": id, "price": 10 }))
        .collect();
    let text = serde_json::json!({ "items": items }).to_string();
    let (coding, body) = match turn % 3 {
        0 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(text.as_bytes()).expect("memory");
            ("gzip", encoder.finish().expect("memory"))
        }
        1 => ("zstd", zstd::encode_all(text.as_bytes(), 3).expect("memory")),
        _ => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(text.as_bytes()).expect("memory");
            ("deflate", encoder.finish().expect("memory"))
        }
    };
    let asked = header(request, "accept-encoding") == "gzip, deflate, br, zstd";
    let builder = Response::builder().status(if asked { 200 } else { 400 });
    let builder = builder.header("content-encoding", coding);
    builder.body(Full::from(body)).expect("an answer")
}

fn import(request: &Request<Bytes>) -> u16 {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(&request.body()[..]).read_to_string(&mut text);
    let fine = read.is_ok()
        && header(request, "content-encoding") == "gzip"
        && header(request, "content-type") == "application/json"
        && header(request, "accept-encoding") == "gzip"
        && serde_json::from_str(&text).is_ok_and(|sent: serde_json::Value| sent["item"] == 101);
    if fine { 201 } else { 400 }
}

/// Where some answers send their user, and the cookie they set.
fn leads_to(request: &Request<Bytes>) -> Option<(String, Option<&'static str>)> {
    let host = header(request, "host");
    Some(match request.uri().path() {
        // A visit begins without cookies.
        "/start" if header(request, "cookie").is_empty() => ("hop?x=1".to_owned(), Some("lang=en; Path=/")),
        "/hop" => (format!("http://{host}/welcome"), Some("visit=7; HttpOnly")),
        "/cart" => ("/cart/7".to_owned(), None),
        "/leave" => ("/bye".to_owned(), None),
        "/loop" => ("/loop".to_owned(), None),
        "/away" => ("http://127.0.0.2:9/".to_owned(), None),
        _ => return None,
    })
}

const PHOTO: &[u8] = include_bytes!("../profiles/examples/data/photo.png");

fn header<'r>(request: &'r Request<Bytes>, name: &str) -> &'r str {
    let value = request.headers().get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The passwords of the file, so that it shows whether a form arrives as it was meant.
fn login(seen: &mut Seen, body: &[u8]) -> (u16, String) {
    let accounts = [
        ("ann@example.com", "p&ss word"),
        ("bob+shop@example.com", "50%=half"),
        ("cem@example.com", "quo\"te"),
        ("dan@example.com", "plain"),
        ("eve@example.com", "ünïcode"),
    ];
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let known = accounts
        .iter()
        .any(|(email, password)| form.get("email").map(String::as_str) == Some(email) && form["password"] == *password);
    if !known {
        return (400, format!("{form:?}"));
    }
    *seen.emails.entry(form["email"].clone()).or_default() += 1;
    (200, format!("{{\"token\":\"t-{}\"}}", form["email"]))
}

/// Jobs of the sizes 1 to 4 in turn, each done when it is asked for the third time; by job, what it was asked.
fn jobs(seen: &mut Seen, path: &str) -> (u16, String) {
    let Some((job, what)) = path.strip_prefix("/jobs/").and_then(|path| path.split_once('/')) else {
        let number = seen.jobs.len();
        seen.jobs.insert(number.to_string(), Vec::new());
        return (201, format!("{{\"job\":{number},\"size\":{}}}", number % 4 + 1));
    };
    let Some(asked) = seen.jobs.get_mut(job) else {
        return (400, String::new());
    };
    asked.push(what.to_owned());
    let done = asked.iter().filter(|asked| *asked == "state").count() >= 3;
    let state = if done { "done" } else { "pending" };
    let fine = what == "state" || done;
    (if fine { 200 } else { 400 }, format!("{{\"state\":\"{state}\"}}"))
}

fn me(request: &Request<Bytes>) -> (u16, String) {
    match header(request, "authorization").strip_prefix("Bearer t-") {
        Some(email) => (200, email.to_owned()),
        None => (401, String::new()),
    }
}

fn photos(request: &Request<Bytes>) -> (u16, String) {
    // base64 of uploader:s3cret
    if header(request, "authorization") != "Basic dXBsb2FkZXI6czNjcmV0" {
        return (401, String::new());
    }
    let boundary = header(request, "content-type").strip_prefix("multipart/form-data; boundary=");
    let Some(boundary) = boundary else {
        return (400, String::new());
    };
    let parts = split(request.body(), format!("--{boundary}").as_bytes());
    let [before, title, photo, end] = parts.as_slice() else {
        return (400, format!("{} parts", parts.len()));
    };
    let title = String::from_utf8_lossy(title);
    let photo_head = b"\r\ncontent-disposition: form-data; name=\"photo\"; filename=\"photo.png\"\r\ncontent-type: image/png\r\n\r\n";
    let fine = before.is_empty()
        && end == b"--\r\n"
        && title.starts_with("\r\ncontent-disposition: form-data; name=\"title\"\r\n\r\nphoto ")
        && **photo == [photo_head, PHOTO, b"\r\n"].concat();
    (if fine { 201 } else { 400 }, String::new())
}

fn split<'b>(mut bytes: &'b [u8], separator: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = bytes.windows(separator.len()).position(|window| window == separator) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + separator.len()..];
    }
    parts.push(bytes);
    parts
}

/// Runs one of them; its report as JSON, and what else was said.
fn run(name: &str, shop: &Shop) -> (Option<i32>, serde_json::Value, TempDir) {
    run_with(name, &shop.url, &[])
}

fn run_with(name: &str, url: &str, set: &[String]) -> (Option<i32>, serde_json::Value, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let out = dir.path().join("run");
    let output = tenfold()
        .args(["run", &format!("profiles/examples/{name}.yaml"), "--quiet", "--target"])
        .arg(url)
        .arg("--out")
        .arg(&out)
        // What is asked here is what was sent, not whether this machine had time for it.
        .args(ON_ANY_MACHINE)
        .args(set.iter().flat_map(|set| ["--set", set]))
        .env("UPLOAD_PASSWORD", "s3cret")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_SESSION_TOKEN", SESSION_TOKEN)
        .output()
        .expect("tenfold runs");
    let report = std::fs::read(out.join("report.json")).unwrap_or_default();
    let report = serde_json::from_slice(&report).unwrap_or_default();
    if output.status.code() != Some(0) {
        eprintln!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    (output.status.code(), report, dir)
}

/// What a report counts by the second, over the whole run.
fn sum(seconds: &serde_json::Value) -> u64 {
    let seconds = seconds.as_array().into_iter().flatten();
    seconds.filter_map(serde_json::Value::as_u64).sum()
}

#[test]
fn every_example_profile_has_its_test() {
    let mut names: Vec<String> = std::fs::read_dir("profiles/examples")
        .expect("the examples are there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort();
    let tested: Vec<&str> = LOADS
        .iter()
        .map(|(name, _)| *name)
        .chain(JOURNEYS)
        .chain(crate::oauth2::EXAMPLES)
        .chain(crate::streams::EXAMPLES)
        .chain(crate::grpc::EXAMPLES)
        .collect();
    let missing: Vec<&String> = names.iter().filter(|name| !tested.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(names.len(), tested.len());
}

const JOURNEYS: [&str; 12] = [
    "client-classes",
    "compression",
    "http2",
    "sigv4",
    "sign-in",
    "uploads",
    "retries",
    "https",
    "visits",
    "several-loads",
    "jobs",
    "together",
];

/// With about how many requests each makes.
const LOADS: [(&str, std::ops::Range<u64>); 9] = [
    ("constant-users", 850..1_100),
    ("ramping-users", 800..2_000),
    ("constant-arrivals", 1_000..1_001),
    ("ramping-arrivals", 1_500..1_900),
    ("stairs", 1_500..1_501),
    ("spike", 1_200..1_201),
    ("replay", 700..701),
    ("iterations-per-user", 200..201),
    ("iterations-shared", 500..501),
];

#[test]
fn every_load_model_makes_the_requests_it_says() {
    let _turn = little_of_the_machine();
    // Three at a time; none of them wants the whole machine.
    for loads in LOADS.chunks(3) {
        at_once(loads, |(name, requests)| {
            let shop = shop();
            let (code, _, _dir) = run(name, &shop);
            assert_eq!(code, Some(0), "{name}");
            let asked = shop.seen.lock().expect("no test panics with it").paths["/"];
            assert!(requests.contains(&asked), "{name}: {asked}");
        });
    }
}

fn at_once<T: Sync>(items: &[T], run: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for item in items {
            scope.spawn(|| run(item));
        }
    });
}

#[test]
fn several_loads_run_together_each_in_its_time() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, report, _dir) = run("several-loads", &shop);
    assert_eq!(code, Some(0));
    let seen = shop.seen.lock().expect("no test panics with it");
    assert_eq!(seen.paths["/orders"], 300);
    assert!((700..=820).contains(&seen.paths["/"]), "{}", seen.paths["/"]);
    let stages = report["plan"]["stages"].as_array().expect("it has stages");
    let levels: Vec<_> = stages.iter().map(|stage| stage["level"].as_f64()).collect();
    // Requests a second: people alone, with the batch, alone, with the spike, alone.
    assert_eq!(levels, [200.0, 300.0, 200.0, 600.0, 200.0].map(Some));
    assert_eq!(report["plan"]["model"], "mixed");
}

#[test]
fn users_sign_in_with_the_rows_of_a_file_and_send_their_token() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, _, _dir) = run("sign-in", &shop);
    assert_eq!(code, Some(0));
    let seen = shop.seen.lock().expect("no test panics with it");
    assert_eq!(seen.emails.len(), 5, "{:?}", seen.emails);
    let (least, most) = (seen.emails.values().min(), seen.emails.values().max());
    assert!(
        most.zip(least).is_some_and(|(most, least)| most - least <= 3),
        "rows come in turn: {:?}",
        seen.emails
    );
    // Twenty users with a pass each half second, for three and a half seconds.
    let signed_in = seen.paths["/login"];
    assert!((80..=160).contains(&signed_in), "{signed_in}");
}

#[test]
fn files_go_out_whole_and_the_password_is_written_nowhere() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, _, dir) = run("uploads", &shop);
    assert_eq!(code, Some(0));
    nowhere_in(dir.path(), &["s3cret", "dXBsb2FkZXI6czNjcmV0"]);
}

#[test]
fn a_variable_that_is_not_set_is_said_before_anything_is_sent() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let dir = TempDir::new().expect("a directory");
    let output = tenfold()
        .args(["run", "profiles/examples/uploads.yaml", "--target"])
        .arg(&shop.url)
        .arg("--out")
        .arg(dir.path().join("run"))
        .env_remove("UPLOAD_PASSWORD")
        .output()
        .expect("tenfold runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("UPLOAD_PASSWORD"), "{stderr}");
    assert!(shop.seen.lock().expect("no test panics with it").paths.is_empty());
}

#[test]
fn retries_hide_what_passes_and_are_counted() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, report, _dir) = run("retries", &shop);
    assert_eq!(code, Some(0));
    let seen = shop.seen.lock().expect("no test panics with it");
    let retried = seen.flaky.values().filter(|attempts| **attempts == 2).count() as u64;
    assert!(retried > 20, "{retried}");
    assert_eq!(seen.paths["/flaky"], seen.flaky.len() as u64 + retried);
    assert_eq!(
        sum(&report["series"]["retries"]),
        retried,
        "{}",
        report["series"]["retries"]
    );
}

#[test]
fn client_classes_of_the_example_leave_a_dead_region_each_in_its_own_time() {
    let _turn = little_of_the_machine();
    let dir = TempDir::new().expect("a directory");
    let out = dir.path().join("run");
    let output = tenfold()
        .args(["run", "profiles/examples/client-classes.yaml", "--out"])
        .arg(&out)
        .args(ON_ANY_MACHINE)
        .output()
        .expect("tenfold runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = std::fs::read(out.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("is JSON");
    let [away, back] = report["verdict"]["moves"].as_array().map_or(&[][..], Vec::as_slice) else {
        panic!("{text}")
    };
    let names = |moved: &serde_json::Value| -> Vec<String> {
        let classes = moved["classes"].as_array().into_iter().flatten();
        classes
            .filter_map(|class| Some(class["class"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(names(away), ["browser", "jvm", "device"], "{text}");
    assert_eq!(
        names(back),
        ["browser", "jvm"],
        "who never left does not come back\n{text}"
    );
    // An answer counts for its TTL of 60 s, or 30 s; then there are the second it is measured in and what was under way.
    for (moved, class, most) in [(away, 0, 130.0), (away, 1, 100.0), (back, 0, 130.0), (back, 1, 100.0)] {
        let all = moved["classes"][class]["all"].as_f64();
        assert!(all.is_some_and(|all| all <= most), "{class}: {all:?}\n{text}");
        assert_eq!(moved["classes"][class]["left"], 0.0);
    }
    let device = &away["classes"][2];
    assert!(
        device["learned"].is_null() && device["half"].is_null() && device["left"] == 1.0,
        "{device}"
    );
    let classes = &report["verdict"]["classes"];
    let of = |class: usize, key: &str| classes[class][key].as_f64().unwrap_or_default();
    assert_eq!(
        of(0, "attempts"),
        of(0, "intended"),
        "browsers do not try again\n{text}"
    );
    // JVMs make up to three attempts of each request to a dead Region, devices keep to their budget.
    assert!(
        of(1, "amplification_max") > 1.3 && of(1, "amplification") > 1.02,
        "{text}"
    );
    assert!(of(2, "amplification") > 1.0 && of(2, "amplification") < 1.25, "{text}");
    let intended: f64 = (0..3).map(|class| of(class, "intended")).sum();
    let shares = [0, 1, 2].map(|class| (of(class, "intended") / intended * 10.0).round());
    assert_eq!(shares[0], 5.0, "{text}");
    let attempts = &report["series"]["classes"]["jvm"]["attempts"];
    let told: f64 = attempts
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_f64)
        .sum();
    assert_eq!(told, of(1, "attempts"));
    assert!(text.contains("Who moved when") && text.contains("device"), "{text}");
}

const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION_TOKEN: &str = "a/session+token==";

#[test]
fn botocore_agrees_with_every_signature_and_the_secrets_are_written_nowhere() {
    let _turn = little_of_the_machine();
    for service in ["execute-api", "s3"] {
        let shop = shop();
        let auth = [
            format!("journeys.orders.auth.sigv4.service={service}"),
            format!("ledgers.orders.auth.sigv4.service={service}"),
        ];
        let (code, report, dir) = run_with("sigv4", &shop.url, &auth);
        assert_eq!(code, Some(0), "{service}");
        nowhere_in(dir.path(), &[SECRET_KEY, SESSION_TOKEN]);
        let seen = std::mem::take(&mut shop.seen.lock().expect("no test panics with it").signed);
        let of = |target: &str, method: &str| {
            let asked = |request: &&serde_json::Value| {
                request["method"] == method && request["target"].as_str().is_some_and(|path| path.starts_with(target))
            };
            seen.iter().filter(asked).count()
        };
        let (written, read) = (of("/signed/orders/", "PUT"), of("/signed/orders/", "GET"));
        assert_eq!(read, written, "{service}: users' and probes' writes are read back");
        let (moved, here) = (of("/signed/moved", "GET"), of("/signed/here", "GET"));
        // A retry begins again where the step does.
        assert!(moved > 50 && here == moved, "{service}: {moved} {here}");
        assert_eq!(sum(&report["series"]["retries"]), here as u64 / 20, "{service}");
        let lines: Vec<String> = seen.iter().map(ToString::to_string).collect();
        let file = dir.path().join("requests.jsonl");
        std::fs::write(&file, lines.join("\n")).expect("it is written");
        let output = venv("python")
            .arg("tests/independent/sigv4_botocore.py")
            .arg(&file)
            .args([SECRET_KEY, SESSION_TOKEN])
            .output()
            .expect("python runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            lines.len().to_string(),
            "{service}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn answers_are_decoded_and_bodies_sent_compressed() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, _, _dir) = run("compression", &shop);
    assert_eq!(code, Some(0));
    let seen = shop.seen.lock().expect("no test panics with it");
    assert!(seen.paths["/import"] > 100, "{:?}", seen.paths);
}

#[test]
fn jobs_are_polled_until_they_are_done_and_go_the_way_of_their_size() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, report, _dir) = run("jobs", &shop);
    assert_eq!(code, Some(0));
    let result = &report["times"]["groups"]["result"];
    let p50 = result["latency"]["p50"].as_f64().unwrap_or_default();
    assert!(
        p50 > 0.06,
        "pauses of 20 to 40 and twice 20 ms are part of it: {result}"
    );
    assert_eq!(result["latency_failed"], serde_json::Value::Null);
    let fast = ["objectives=[latency(result) p99 < 60ms, errors <= 0%]".to_owned()];
    let (code, _, _dir) = run_with("jobs", &self::shop().url, &fast);
    assert_eq!(code, Some(1), "a group that takes too long is missed");
    let seen = shop.seen.lock().expect("no test panics with it");
    let mut whole = 0;
    for (job, asked) in &seen.jobs {
        let size = job.parse::<u64>().expect("a number") % 4 + 1;
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let (polls, rest) = asked.split_at(asked.len().min(3));
        assert!(polls.iter().all(|what| *what == "state"), "{job}: {asked:?}");
        let fine = match rest {
            // The run ended before.
            [] => true,
            ["whole"] => size <= 2,
            rest => size > 2 && rest.len() <= 3 && rest.iter().all(|what| *what == "part"),
        };
        assert!(fine, "{job}: {asked:?}");
        whole += usize::from(!rest.is_empty());
    }
    assert!(
        whole > 60 && whole + 10 >= seen.jobs.len(),
        "{whole} of {}",
        seen.jobs.len()
    );
    let some = seen.paths["/"] as f64 / whole as f64;
    assert!((0.15..0.45).contains(&some), "{some}");
}

#[test]
fn a_page_is_loaded_six_requests_at_a_time_and_timed_until_all_of_it_is_there() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, report, _dir) = run("together", &shop);
    assert_eq!(code, Some(0));
    let page = &report["times"]["groups"]["whole-page"];
    let p50 = page["latency"]["p50"].as_f64().unwrap_or_default();
    // Six or seven assets of 40 ms each: two of them one after the other, not all.
    assert!((40.0..200.0).contains(&p50), "{page}");
    let seen = shop.seen.lock().expect("no test panics with it");
    let pages = seen.paths["/page"];
    assert!(pages > 100, "{:?}", seen.paths);
    for asset in ["/assets/app.css", "/assets/app.js", "/assets/d.png", "/api/user"] {
        assert!(seen.paths[asset].abs_diff(pages) <= 10, "{asset}: {:?}", seen.paths);
    }
    let chosen = seen.paths["/assets/more.js"] as f64 / pages as f64;
    assert!((0.3..0.7).contains(&chosen), "{chosen}");
    let most: BTreeSet<u64> = seen.loading.values().map(|(_, most)| *most).collect();
    assert_eq!(most.last(), Some(&6), "{most:?}");
    drop(seen);
    // Pages take so much longer then that ten users load too few to be judged.
    let one_by_one = ["journeys.visit.steps.0.steps.1.at_most=1", "stages.0.users=20"].map(str::to_owned);
    let shop = self::shop();
    let (code, _, _dir) = run_with("together", &shop.url, &one_by_one);
    assert_eq!(code, Some(0));
    let seen = shop.seen.lock().expect("no test panics with it");
    assert!(seen.loading.values().all(|(_, most)| *most == 1));
}

#[test]
fn visits_keep_their_cookies_and_follow_redirects_on_the_target_only() {
    let _turn = little_of_the_machine();
    let shop = shop();
    let (code, report, _dir) = run("visits", &shop);
    assert_eq!(code, Some(0));
    {
        let seen = shop.seen.lock().expect("no test panics with it");
        assert!(
            seen.paths["/start"] > 100 && seen.paths["/cart/7"] > 100,
            "{:?}",
            seen.paths
        );
        assert_eq!(seen.paths["/start"], seen.paths["/hop"]);
        assert!(!seen.paths.contains_key("/bye"));
        // Hops are part of the request: the visit has three.
        let first = seen.paths["/start"] + seen.paths["/cart"] + seen.paths["/leave"];
        assert_eq!(sum(&report["series"]["intended"]), first);
    }
    at_once(&[("/loop", 6), ("/away", 1)], |(path, asked)| {
        let shop = self::shop();
        let (code, report, _dir) = run_with("visits", &shop.url, &[format!("journeys.visit.steps.0.get={path}")]);
        assert_eq!(code, Some(1), "{path}");
        let failed = sum(&report["series"]["errors"]["redirect"]);
        assert!(failed > 50, "{path}: {}", report["series"]["errors"]);
        assert_eq!(
            shop.seen.lock().expect("no test panics with it").paths[*path],
            failed * asked,
            "{path}"
        );
    });
}

/// An authority, and what it vouches for: key pairs as PEM files in a directory, and a server that asks its clients for
/// a certificate of the same authority.
struct Vouched {
    dir: TempDir,
    acceptor: TlsAcceptor,
}

impl Vouched {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Who signs has another name than who is signed; OpenSSL takes them for one otherwise.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let vouch = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            (params.signed_by(&key, &authority).expect("a certificate"), key)
        };
        let (server, server_key) = vouch("shop.example.com");
        let (client, client_key) = vouch("tenfold.example.com");
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("client.pem", client.pem()),
            ("client.key", client_key.serialize_pem()),
            ("server.pem", server.pem()),
            ("server.key", server_key.serialize_pem()),
        ] {
            std::fs::write(dir.path().join(name), text).expect("it is written");
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("an authority");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(
                vec![server.der().clone()],
                PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key"),
            )
            .expect("a server");
        Self {
            dir,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    fn set(&self, key: &str, file: &str) -> String {
        format!("client.tls.{key}={}", self.dir.path().join(file).display())
    }

    /// What a client sets that believes the authority and shows its own certificate.
    fn set_all(&self) -> [String; 4] {
        [
            "client.tls.server_name=shop.example.com".to_owned(),
            self.set("ca", "ca.pem"),
            self.set("certificate", "client.pem"),
            self.set("key", "client.key"),
        ]
    }
}

#[test]
fn https_is_verified_with_the_clients_own_certificate_and_writes_are_read_back_over_it() {
    let _turn = machine();
    let vouched = Vouched::new();
    let shop = shop_over(Some(vouched.acceptor.clone()));
    let all = vouched.set_all();
    let (code, report, dir) = run_with("https", &shop.url, &all);
    assert_eq!(code, Some(0));
    let why = report["verdict"]["objectives"][1]["why"].as_str().unwrap_or_default();
    assert!(why.contains("acknowledged writes"), "{report}");
    let plan = std::fs::read_to_string(dir.path().join("run/plan.json")).expect("the plan");
    assert!(!plan.contains("PRIVATE KEY"), "{plan}");
    {
        let seen = shop.seen.lock().expect("no test panics with it");
        let read = seen.paths.keys().filter(|path| path.starts_with("/orders/")).count();
        assert!(read > 100, "probes and users wrote, and it was read back: {read}");
    }
    at_once(
        &[(0, "name"), (1, "authority"), (2, "certificate")],
        |(left_out, says)| {
            let mut less: Vec<String> = all.to_vec();
            less.remove(*left_out);
            if *left_out == 2 {
                less.pop();
            }
            let (code, report, _dir) = run_with("https", &shop.url, &less);
            assert_eq!(code, Some(1), "without the {says}");
            let errors = report["series"]["errors"].as_object().cloned().unwrap_or_default();
            assert!(errors.contains_key("tls"), "without the {says}: {errors:?}");
        },
    );
}

#[test]
fn https_to_nginx_is_verified_both_ways_and_resumes_its_sessions_where_it_should() {
    let _turn = machine();
    let vouched = Vouched::new();
    let here = vouched.dir.path();
    let asks = format!(
        "ssl_client_certificate {}/ca.pem; ssl_verify_client on;",
        here.display()
    );
    let over = |more: &str, set: &[&str]| {
        let nginx = Nginx::start(here, "", &format!("{asks} {more}"));
        let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
        let (code, _, _dir) = run_with("https", &nginx.url, &[&vouched.set_all()[..], &set].concat());
        assert_eq!(code, Some(0), "{more} {set:?}");
        let asked = nginx.asked();
        assert!(asked.len() > 100, "{more} {set:?}: {}", asked.len());
        assert!(asked.iter().all(|asked| asked.protocol == "HTTP/1.1"), "{more} {set:?}");
        assert!(
            asked.iter().all(|asked| ["200", "201"].contains(&&*asked.status)),
            "{more} {set:?}"
        );
        asked
    };
    let short = "stages.0.hold=1s";
    let kept = over("", &[short]);
    let connections: BTreeSet<&str> = kept.iter().map(|asked| &*asked.connection).collect();
    // Users keep theirs; each probe and each reading back has its own.
    assert!(
        connections.len() * 2 < kept.len(),
        "{} of {}",
        connections.len(),
        kept.len()
    );
    let each = "client.connections=per_request";
    for version in ["TLSv1.2", "TLSv1.3"] {
        let asked = over(&format!("ssl_protocols {version};"), &[short, each]);
        assert!(asked.iter().all(|asked| asked.tls == version));
        let resumed = asked.iter().filter(|asked| asked.resumed).count();
        assert!(resumed * 2 > asked.len(), "{version}: {resumed} of {}", asked.len());
    }
    let asked = over("", &[short, each, "client.tls.resume=false"]);
    assert!(!asked.iter().any(|asked| asked.resumed));
}

#[test]
fn nginx_is_asked_over_http2_and_one_that_does_not_speak_it_is_named() {
    let _turn = machine();
    let vouched = Vouched::new();
    let here = vouched.dir.path();
    let over = |nginx: &Nginx| {
        let set = [
            format!("client.tls.ca={}", here.join("ca.pem").display()),
            "client.tls.server_name=shop.example.com".to_owned(),
            "client.shards=1".to_owned(),
        ];
        run_with("http2", &nginx.url, &set)
    };
    let nginx = Nginx::start(here, "http2", "");
    let (code, _, _dir) = over(&nginx);
    assert_eq!(code, Some(0));
    let asked = nginx.asked();
    assert!(asked.len() > 400, "{}", asked.len());
    assert!(asked.iter().all(|asked| asked.protocol == "HTTP/2.0"));
    let connections: BTreeSet<&str> = asked.iter().map(|asked| &*asked.connection).collect();
    assert!((1..=4).contains(&connections.len()), "{connections:?}");

    let old = Nginx::start(here, "", "");
    let (code, report, _dir) = over(&old);
    assert_eq!(code, Some(1));
    assert!(old.asked().is_empty());
    let errors = report["series"]["errors"].as_object().cloned().unwrap_or_default();
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["tls"]);
}
