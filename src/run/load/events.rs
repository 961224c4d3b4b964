//! Server-sent events (HTML Living Standard, section 9.2): the answer to a GET, read until it has brought what the step
//! came for. A stream that ends before is a failure, and so is one that is silent for longer than the step expects, from
//! that instant on; nobody connects again by himself, since retries are the client's.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::checks::CAPTURE_MAX;
use super::http1::{AtEnd, Head, Progress, Reader, Receiver};
use super::lane::{Captured, Line, Told};
use super::measure::Gaps;
use super::silence::Silence;
use crate::clock::RunClock;
use crate::plan::EventsUntil;
use crate::recording::FailureKind;

/// Read at once.
const BUFFER: usize = 16 * 1024;
/// Far enough away.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// What a step wants of a stream; its times are real.
#[derive(Clone, Debug)]
pub struct Watch {
    /// When it has seen enough.
    pub until: EventsUntil,
    /// How long the stream may be silent.
    pub gap_max: Option<Duration>,
}

/// Sends the GET and reads its events; how long there were none goes into `gaps`.
pub async fn exchange(mut line: Line, request: Vec<u8>, watch: Watch, clock: RunClock, gaps: Gaps) -> Told {
    let stays = match watch.until {
        EventsUntil::For(length) => length,
        _ => NEVER,
    };
    let leaves_at = Instant::now() + stays;
    let sent = async {
        line.write_all(&request).await?;
        line.flush().await
    };
    if let Err(error) = sent.await {
        return Told::broke(&error, false);
    }
    let mut stream = EventStream::new(watch, clock, gaps);
    let mut reader = Reader::default();
    let mut buffer = vec![0; BUFFER];
    let mut heard = false;
    loop {
        let silent_at = stream.silence.too_long_at().filter(|at| *at < leaves_at);
        let Ok(read) = timeout_at(silent_at.unwrap_or(leaves_at), line.read(&mut buffer)).await else {
            return match silent_at {
                Some(_) => stream.was_silent(),
                None => stream.left(),
            };
        };
        let came = match read {
            Err(error) => Err(Told::broke(&error, heard)),
            Ok(0) => match reader.at_end() {
                AtEnd::Whole => Ok(true),
                AtEnd::Cut => Err(Told::closed(heard)),
            },
            Ok(length) => match reader.feed(&buffer[..length], false, &mut stream) {
                Err(error) => return Told::garbled(error.to_string()),
                Ok(Progress::More) => Ok(false),
                Ok(Progress::Whole { .. }) => Ok(true),
            },
        };
        // An end that is only seen when its user has left already was none to him.
        let late = Instant::now() >= leaves_at;
        let told = match came {
            Ok(at_end) => stream.told(at_end && !late),
            Err(told) if late && told.failure == Some(FailureKind::Reset) => Some(stream.left()),
            Err(told) => Some(told),
        };
        heard = true;
        if let Some(told) = told {
            return told;
        }
    }
}

/// What has come of the answer.
struct EventStream {
    until: EventsUntil,
    clock: RunClock,
    status: u16,
    headers: HeaderMap,
    /// It says that it is a stream of events.
    is_stream: bool,
    /// Of an answer that is none.
    body: Captured,
    parser: Parser,
    events: u64,
    first_us: Option<u64>,
    last: Vec<u8>,
    /// What the step came for is there.
    seen: bool,
    silence: Silence,
}

impl EventStream {
    fn new(watch: Watch, clock: RunClock, gaps: Gaps) -> Self {
        Self {
            until: watch.until,
            clock,
            status: 0,
            headers: HeaderMap::new(),
            is_stream: false,
            body: Captured::default(),
            parser: Parser::default(),
            events: 0,
            first_us: None,
            last: Vec::new(),
            seen: false,
            silence: Silence::new(gaps, watch.gap_max),
        }
    }

    /// What is told once no more is needed.
    fn told(&mut self, at_end: bool) -> Option<Told> {
        if self.parser.too_long {
            let why = format!("a line or an event is longer than {CAPTURE_MAX} bytes");
            return Some(Told::garbled(why));
        }
        if self.status == 200 && !self.is_stream {
            let why = "the answer's content-type is not text/event-stream";
            return Some(Told::garbled(why));
        }
        if self.silence.was_too_long() {
            return Some(self.was_silent());
        }
        match self.until {
            _ if self.seen => Some(self.left()),
            EventsUntil::End if at_end => Some(self.left()),
            // A page of an error, or 204: no events to come (section 9.2.3).
            _ if at_end && !self.is_stream => Some(self.left()),
            _ => at_end.then(Told::ended_early),
        }
    }

    /// Nothing has come for longer than the step expects.
    fn was_silent(&self) -> Told {
        Told {
            heard_us: self.first_us,
            ..Told::because(FailureKind::Expectation, "no event came for longer than is expected")
        }
    }

    /// The user has seen enough: what he saw last. Who has not even seen a head was not answered.
    fn left(&mut self) -> Told {
        if self.status == 0 {
            return Told::failed(FailureKind::Timeout);
        }
        let mut body = std::mem::take(&mut self.body);
        if self.is_stream {
            body.push(&self.last);
        }
        Told {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body,
            heard_us: self.first_us,
            ..Told::default()
        }
    }
}

impl Receiver for EventStream {
    fn head(&mut self, head: &Head<'_>) {
        self.status = head.status;
        for field in head.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
                self.headers.append(name, value);
            }
        }
        let kind = head.get("content-type").unwrap_or_default();
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
        self.is_stream = head.status == 200 && kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream");
        if self.is_stream {
            self.silence.begin();
        }
    }

    fn body(&mut self, piece: &[u8]) {
        if !self.is_stream {
            self.body.push(piece);
            return;
        }
        let Self {
            parser,
            until,
            clock,
            events,
            first_us,
            last,
            seen,
            silence,
            ..
        } = self;
        parser.feed(piece, |name, data| {
            if *seen {
                return;
            }
            first_us.get_or_insert_with(|| clock.elapsed().as_micros() as u64);
            *events += 1;
            silence.ends();
            last.clear();
            last.extend_from_slice(data);
            *seen = match until {
                EventsUntil::Events(wanted) => events >= wanted,
                EventsUntil::Event(wanted) => wanted.as_bytes() == name,
                EventsUntil::Data(wanted) => wanted.as_bytes() == data,
                EventsUntil::For(_) | EventsUntil::End => false,
            };
        });
    }
}

/// Takes a stream apart into events.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed belongs to it.
    after_cr: bool,
    /// The first line may begin with a byte order mark.
    begun: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// A line or event is longer than [`CAPTURE_MAX`]; nothing more is read.
    too_long: bool,
}

impl Parser {
    /// Takes the next bytes; `event` gets the name and the data of each event that is whole.
    fn feed(&mut self, piece: &[u8], mut event: impl FnMut(&[u8], &[u8])) {
        for byte in piece {
            if std::mem::take(&mut self.after_cr) && *byte == b'\n' {
                continue;
            }
            match byte {
                b'\r' | b'\n' => {
                    self.after_cr = *byte == b'\r';
                    self.end_line(&mut event);
                }
                other => self.line.push(*other),
            }
            if self.line.len() + self.data.len() > CAPTURE_MAX {
                self.too_long = true;
                return;
            }
        }
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8], &[u8])) {
        let kept = std::mem::take(&mut self.line);
        let line = match kept.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if !self.begun => rest,
            _ => &kept,
        };
        self.begun = true;
        if line.is_empty() {
            // An event without data is none.
            if std::mem::take(&mut self.has_data) {
                let name = if self.name.is_empty() {
                    b"message"
                } else {
                    &self.name[..]
                };
                event(name, &self.data);
            }
            self.name.clear();
            self.data.clear();
        } else {
            self.field(line);
        }
        self.line = kept;
        self.line.clear();
    }

    fn field(&mut self, line: &[u8]) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            // Comments, and what is for connecting again.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in pieces {
            parser.feed(piece, |name, data| found.push((text(name), text(data))));
        }
        found
    }

    #[test]
    fn events_come_out_as_the_standard_says_however_they_are_cut() {
        let stream = "\u{feff}: a comment\ndata: one\n\nevent: price\r\ndata:two\r\ndata:  three\rid: 7\r\r\
                      event: empty\n\nretry: 10\ndata\n\ndata: never ended\n";
        let expected = [("message", "one"), ("price", "two\n three"), ("message", "")];
        let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
        for cut in 0..=stream.len() {
            let (before, after) = stream.as_bytes().split_at(cut);
            assert_eq!(events(&[before, after]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        for piece in [vec![b'x'; 1 << 16], b"data: x\n".repeat(1 << 13)] {
            let mut parser = Parser::default();
            for _ in 0..100 {
                if !parser.too_long {
                    parser.feed(&piece, |_, _| {});
                }
            }
            assert!(parser.too_long);
            assert!(parser.line.len() + parser.data.len() <= CAPTURE_MAX + 1);
        }
    }
}
