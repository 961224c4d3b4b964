//! Reads HTTP/1.1 responses from whatever pieces a socket gives (RFC 9112): heads by httparse, bodies handed on in
//! the pieces they came in. Pure: opens nothing, waits for nothing, keeps nothing but an incomplete head.

mod chunked;
mod head;
mod known;
#[cfg(test)]
mod tests;

use self::chunked::Chunked;
use self::head::Framing;
pub use self::head::{Found, Head};
pub use self::known::Known;

/// Bytes of a head at most, all its 1xx before it apart; nginx sends 8 KiB by default, load balancers limit at 64 KiB.
pub const HEAD_MAX: usize = 64 * 1024;
/// Bytes of a body that are read; a longer one is a failure, since it would be measured as the target's latency.
pub const BODY_MAX: u64 = 64 << 20;

/// Why a response cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not an HTTP/1.x head.
    #[error("the head is not HTTP/1.1: {0}")]
    Head(httparse::Error),
    /// Longer than [`HEAD_MAX`].
    #[error("the head is longer than {HEAD_MAX} bytes")]
    HeadTooLong,
    /// Not a number, or several that differ.
    #[error("the content-length is no single number")]
    ContentLength,
    /// HTTP/1.0 has no transfer-encoding.
    #[error("a transfer-encoding in HTTP/1.0")]
    TransferEncoding,
    /// The chunks are not written as RFC 9112, section 7.1 says.
    #[error("a chunk is malformed")]
    Chunk,
    /// Longer than [`BODY_MAX`].
    #[error("the body is longer than {BODY_MAX} bytes")]
    BodyTooLong,
}

/// Who is told what a response holds.
pub trait Receiver {
    /// The head of the final response (no 1xx).
    fn head(&mut self, head: &Head<'_>);
    /// A piece of the body, without chunk framing.
    fn body(&mut self, piece: &[u8]);

    /// If `input` begins with a head whose meaning is known already: its length and what it says of the body. It is not
    /// told by [`Receiver::head`] then.
    #[inline]
    fn recall(&mut self, _input: &[u8]) -> Option<(usize, Found)> {
        None
    }

    /// The bytes of the head that was just told, and what it says of the body of any answer but one to a HEAD.
    #[inline]
    fn learn(&mut self, _bytes: &[u8], _head: &Head<'_>, _found: Found) {}
}

/// How far a response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// It is whole.
    Whole {
        /// Bytes of the input that belong to it; the server sent the rest unasked.
        used: usize,
        /// Whether the connection may carry another request.
        reusable: bool,
    },
}

/// What the end of the stream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// The response had no length: its end was this.
    Whole,
    /// The response was cut.
    Cut,
}

#[derive(Clone, Debug)]
enum Phase {
    Head,
    Length(u64),
    Chunks(Chunked),
    UntilClose,
}

/// One response being read.
#[derive(Clone, Debug)]
pub struct Reader {
    phase: Phase,
    /// An incomplete head; empty where heads come whole, as they mostly do.
    kept: Vec<u8>,
    reusable: bool,
    body: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            phase: Phase::Head,
            kept: Vec::new(),
            reusable: false,
            body: 0,
        }
    }
}

impl Reader {
    /// Ready for the next response.
    #[inline]
    pub fn reset(&mut self) {
        self.phase = Phase::Head;
        self.body = 0;
        self.kept = Vec::new();
    }

    /// Reads on. `to_head` says that the request was a HEAD, whose response has no body whatever its head says.
    #[inline]
    pub fn feed(
        &mut self,
        input: &[u8],
        to_head: bool,
        receiver: &mut impl Receiver,
    ) -> Result<Progress, ProtocolError> {
        let mut used = 0;
        if matches!(self.phase, Phase::Head) {
            match self.feed_head(input, to_head, receiver)? {
                Some(length) => used = length,
                None => return Ok(Progress::More),
            }
        }
        self.feed_body(input, used, receiver)
    }

    /// What the end of the stream means now.
    #[must_use]
    #[inline]
    pub fn at_end(&self) -> AtEnd {
        match self.phase {
            Phase::UntilClose => AtEnd::Whole,
            _ => AtEnd::Cut,
        }
    }

    /// Bytes of `input` up to the end of the head; none while it is incomplete.
    #[inline]
    fn feed_head(
        &mut self,
        input: &[u8],
        to_head: bool,
        receiver: &mut impl Receiver,
    ) -> Result<Option<usize>, ProtocolError> {
        if self.kept.is_empty() {
            if !to_head && let Some((length, found)) = receiver.recall(input) {
                self.begin_body(&found);
                return Ok(Some(length));
            }
            let (passed, found) = head::parse(input, to_head, receiver)?;
            if let Some(found) = found {
                self.begin_body(&found);
                return Ok(Some(passed));
            }
            return self.keep(&input[passed..]).map(|()| None);
        }
        let before = self.kept.len();
        self.keep(input)?;
        // A head ends with a line; without a new one nothing has changed, however slowly it drips.
        if !input.contains(&b'\n') {
            return Ok(None);
        }
        let kept = std::mem::take(&mut self.kept);
        let (passed, found) = head::parse(&kept, to_head, receiver)?;
        let Some(found) = found else {
            self.kept = kept;
            self.kept.drain(..passed);
            return Ok(None);
        };
        self.begin_body(&found);
        Ok(Some(passed.saturating_sub(before)))
    }

    fn keep(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        // A head that ends within this input is looked at before it is called too long; it may bring a body along.
        if self.kept.len() > HEAD_MAX || (self.kept.len() + input.len() > HEAD_MAX && !input.contains(&b'\n')) {
            return Err(ProtocolError::HeadTooLong);
        }
        self.kept.extend_from_slice(input);
        Ok(())
    }

    #[inline]
    fn begin_body(&mut self, found: &head::Found) {
        self.reusable = found.reusable;
        self.phase = match found.framing {
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunks(Chunked::default()),
            Framing::UntilClose => Phase::UntilClose,
        };
    }

    #[inline]
    fn feed_body(
        &mut self,
        input: &[u8],
        mut used: usize,
        receiver: &mut impl Receiver,
    ) -> Result<Progress, ProtocolError> {
        let rest = &input[used..];
        let whole = match &mut self.phase {
            Phase::Head => false,
            Phase::Length(left) => {
                if *left > BODY_MAX {
                    return Err(ProtocolError::BodyTooLong);
                }
                let piece = &rest[..rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
                *left -= piece.len() as u64;
                used += piece.len();
                let whole = *left == 0;
                if !piece.is_empty() {
                    receiver.body(piece);
                }
                whole
            }
            Phase::Chunks(chunks) => {
                let read = chunks.feed(rest, |piece| receiver.body(piece))?;
                self.body += read.body;
                used += read.used;
                read.whole
            }
            Phase::UntilClose => {
                if !rest.is_empty() {
                    receiver.body(rest);
                }
                self.body += rest.len() as u64;
                used = input.len();
                false
            }
        };
        if self.body > BODY_MAX {
            return Err(ProtocolError::BodyTooLong);
        }
        if !whole {
            return Ok(Progress::More);
        }
        let reusable = self.reusable;
        self.reset();
        Ok(Progress::Whole { used, reusable })
    }
}
