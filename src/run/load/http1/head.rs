//! The head of a response and what it says about the body that follows (RFC 9112, section 6.3).

use std::mem::MaybeUninit;

use super::{HEAD_MAX, ProtocolError, Receiver};

/// Headers at most; the same bound as hyper's, so that both read the same responses.
const HEADERS_MAX: usize = 100;

/// A parsed head.
#[derive(Debug)]
pub struct Head<'a> {
    /// Status code.
    pub status: u16,
    /// Header fields in order, names as sent.
    pub headers: &'a [httparse::Header<'a>],
}

impl<'a> Head<'a> {
    /// The first field of this name (any case).
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut fields = self.headers.iter();
        fields
            .find(|field| field.name.len() == name.len() && field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What a head says about the rest.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Where the body ends.
    pub(super) framing: Framing,
    /// Whether the connection may carry another request.
    pub(super) reusable: bool,
}

/// Passes any 1xx and parses the head of the final response: bytes passed, and the head if it is whole.
#[inline]
pub(super) fn parse(
    input: &[u8],
    to_head: bool,
    receiver: &mut impl Receiver,
) -> Result<(usize, Option<Found>), ProtocolError> {
    let mut passed = 0;
    loop {
        let rest = &input[passed..];
        // Not written before they are parsed into: that would cost more than the parsing.
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, rest, &mut headers);
        let length = match parsed.map_err(ProtocolError::Head)? {
            httparse::Status::Complete(length) if length > HEAD_MAX => return Err(ProtocolError::HeadTooLong),
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if rest.len() > HEAD_MAX => return Err(ProtocolError::HeadTooLong),
            httparse::Status::Partial => return Ok((passed, None)),
        };
        let bytes = &rest[..length];
        passed += length;
        let status = response.code.expect("a complete head has a status");
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let head = Head {
            status,
            headers: response.headers,
        };
        let http_11 = response.version == Some(1);
        let found = read(&head, http_11, to_head)?;
        receiver.head(&head);
        if !to_head {
            receiver.learn(bytes, &head, found);
        }
        return Ok((passed, Some(found)));
    }
}

#[inline]
fn read(head: &Head<'_>, http_11: bool, to_head: bool) -> Result<Found, ProtocolError> {
    let (mut length, mut coded, mut chunked) = (None, false, false);
    let (mut close, mut keep_alive) = (false, false);
    for field in head.headers {
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                length = Some(content_length(length, field.value))
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                coded = true;
                chunked = last_token(field.value).eq_ignore_ascii_case(b"chunked");
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                for token in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    close |= token.eq_ignore_ascii_case(b"close");
                    keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
    }
    // Both lengths at once are how responses get smuggled: read by the chunks, but trust the connection no further.
    let suspicious = coded && length.is_some();
    let framing = match head.status {
        _ if to_head => Framing::Length(0),
        101 | 204 | 304 => Framing::Length(0),
        _ if coded && !http_11 => return Err(ProtocolError::TransferEncoding),
        _ if chunked => Framing::Chunked,
        _ if coded => Framing::UntilClose,
        _ => match length {
            None => Framing::UntilClose,
            Some(Some(length)) => Framing::Length(length),
            Some(None) => return Err(ProtocolError::ContentLength),
        },
    };
    Ok(Found {
        framing,
        reusable: !close && (http_11 || keep_alive) && !suspicious && head.status != 101,
    })
}

/// A further content-length: none when it is no number or another one than before.
fn content_length(before: Option<Option<u64>>, value: &[u8]) -> Option<u64> {
    let mut length = before;
    for part in value.split(|byte| *byte == b',') {
        let number = digits(part.trim_ascii());
        length = Some(match length {
            Some(known) if known != number => None,
            _ => number,
        });
    }
    length.flatten()
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

fn last_token(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b',').next().unwrap_or(value).trim_ascii()
}
