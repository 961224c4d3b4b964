//! Requests over raw TCP: bytes go out, and the answer ends where the step says. What the bytes mean is the step's
//! matter.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::http1::BODY_MAX;
use super::lane::{Captured, Line, Told};
use crate::plan::{TcpStep, TcpUntil};

/// Read at once.
const BUFFER: usize = 16 * 1024;

/// Sends `request` and reads its answer.
pub async fn exchange(mut line: Line, request: Vec<u8>, step: TcpStep) -> Told {
    let sent = async {
        line.write_all(&request).await?;
        line.flush().await
    };
    if let Err(error) = sent.await {
        return Told::broke(&error, false);
    }
    let mut frame = Frame::new(step.until);
    let mut body = Captured::default();
    let mut whole = frame.feed(&[], &mut body);
    let mut buffer = vec![0; BUFFER];
    let mut heard = false;
    loop {
        match whole {
            Progress::More => {}
            Progress::TooLong => return Told::too_long(),
            Progress::Whole { rest } => {
                return Told {
                    body,
                    // What came unasked belongs to no request.
                    line: (!step.close && !rest).then_some(line),
                    ..Told::default()
                };
            }
        }
        whole = match line.read(&mut buffer).await {
            Ok(0) if frame.ends_with_connection() => {
                return Told {
                    body,
                    ..Told::default()
                };
            }
            Ok(0) => return Told::closed(heard),
            Ok(length) => frame.feed(&buffer[..length], &mut body),
            Err(error) => return Told::broke(&error, heard),
        };
        heard = true;
    }
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    /// It is whole; more came after it, or not.
    Whole {
        rest: bool,
    },
    /// Longer than [`BODY_MAX`].
    TooLong,
}

/// Where an answer ends, and what of that has been seen.
#[derive(Debug)]
struct Frame {
    until: TcpUntil,
    /// May be the beginning of the delimiter, or of the length in front.
    kept: Vec<u8>,
    /// Bytes still to come, once that is known.
    left: Option<u64>,
}

impl Frame {
    fn new(until: TcpUntil) -> Self {
        let left = match until {
            TcpUntil::Sent => Some(0),
            TcpUntil::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        Self {
            until,
            kept: Vec::new(),
            left,
        }
    }

    fn ends_with_connection(&self) -> bool {
        self.until == TcpUntil::Close
    }

    /// Takes the next bytes; `body` gets what is neither delimiter nor length.
    fn feed(&mut self, mut input: &[u8], body: &mut Captured) -> Progress {
        match &self.until {
            TcpUntil::Delimiter(delimiter) => {
                self.kept.extend_from_slice(input);
                let delimiter = delimiter.as_bytes();
                if let Some(at) = find(&self.kept, delimiter) {
                    body.push(&self.kept[..at]);
                    let rest = self.kept.len() > at + delimiter.len();
                    return Progress::Whole { rest };
                }
                let certain = self.kept.len().saturating_sub(delimiter.len() - 1);
                body.push(&self.kept[..certain]);
                self.kept.drain(..certain);
            }
            TcpUntil::Close => body.push(input),
            TcpUntil::Prefix(bytes) if self.left.is_none() => {
                let missing = usize::from(*bytes) - self.kept.len();
                let (prefix, rest) = input.split_at(missing.min(input.len()));
                self.kept.extend_from_slice(prefix);
                input = rest;
                if self.kept.len() == usize::from(*bytes) {
                    let length = self.kept.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                    self.left = Some(length);
                }
            }
            TcpUntil::Sent | TcpUntil::Bytes(_) | TcpUntil::Prefix(_) => {}
        }
        if let Some(left) = &mut self.left {
            if *left > BODY_MAX {
                return Progress::TooLong;
            }
            let piece = &input[..input.len().min(*left as usize)];
            body.push(piece);
            *left -= piece.len() as u64;
            if *left == 0 {
                let rest = piece.len() < input.len();
                return Progress::Whole { rest };
            }
        }
        if body.length > BODY_MAX {
            return Progress::TooLong;
        }
        Progress::More
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in two pieces, cut everywhere, and expects the same each time.
    fn ends(until: &TcpUntil, input: &[u8], expected: (Progress, &[u8])) {
        for cut in 0..=input.len() {
            let (mut frame, mut body) = (Frame::new(until.clone()), Captured::default());
            let mut progress = frame.feed(&input[..cut], &mut body);
            if progress == Progress::More {
                progress = frame.feed(&input[cut..], &mut body);
            } else if let Progress::Whole { rest } = &mut progress {
                *rest |= cut < input.len();
            }
            assert_eq!((progress, &body.bytes[..]), expected, "{until:?} cut at {cut}");
        }
    }

    #[test]
    fn an_answer_ends_where_the_step_says_however_it_is_cut() {
        let whole = Progress::Whole { rest: false };
        let more_came = Progress::Whole { rest: true };
        let line = TcpUntil::Delimiter("\r\n".to_owned());
        ends(&line, b"+PO\rNG\r\n", (whole, b"+PO\rNG"));
        ends(&line, b"a\r\nb", (more_came, b"a"));
        ends(&line, b"\r\n", (whole, b""));
        ends(&TcpUntil::Bytes(3), b"abc", (whole, b"abc"));
        ends(&TcpUntil::Bytes(3), b"abcd", (more_came, b"abc"));
        ends(&TcpUntil::Prefix(2), b"\0\x03abc", (whole, b"abc"));
        ends(&TcpUntil::Prefix(1), b"\0", (whole, b""));
        ends(&TcpUntil::Prefix(4), b"\xff\0\0\0a", (Progress::TooLong, b""));
        ends(&TcpUntil::Close, b"abc", (Progress::More, b"abc"));
    }

    #[test]
    fn an_answer_without_end_is_cut() {
        for until in [TcpUntil::Close, TcpUntil::Delimiter("\n".to_owned())] {
            let (mut frame, mut body) = (Frame::new(until), Captured::default());
            let piece = vec![b'x'; 1 << 20];
            let fed = (0..1000).take_while(|_| frame.feed(&piece, &mut body) == Progress::More);
            assert!((60..70).contains(&fed.count()), "{}", body.length);
            assert!(body.bytes.len() <= 1 << 20 && frame.kept.len() < 8);
        }
    }
}
