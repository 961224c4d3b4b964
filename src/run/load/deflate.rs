//! Compressed messages of WebSocket (permessage-deflate, RFC 7692), which tungstenite does not know. What comes is
//! inflated before the library reads it: a compressed message becomes fragments without the bit that marks it, so that
//! the library's own bound on messages bounds what it expands to. What goes is handed to it as a frame with that bit.
//! Everything else stays the library's, which fails a session in which the bit stands where it was not agreed on.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use hyper::HeaderMap;
use hyper::header::SEC_WEBSOCKET_EXTENSIONS;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use super::lane::{Line, READS_PER_TURN};

/// Read, and inflated, at once; there may be many sessions.
const PIECE: usize = 4 * 1024;
/// What every sender leaves out at the end of a message (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
const HEAD_END: &[u8; 4] = b"\r\n\r\n";

/// A message that cannot be inflated, or no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no compressed message")]
struct Damaged;

/// Whether a session failed because of what a compressed message holds.
#[must_use]
pub fn is_damaged(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Damaged>())
}

fn damaged<E>(_: E) -> io::Error {
    io::Error::other(Damaged)
}

/// What a server has made of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// Messages go as they are.
    Plain,
    /// They may be compressed.
    Deflate {
        /// Those of the server refer to what it has sent before.
        keeps_context: bool,
    },
}

impl Agreed {
    /// Reads the answer to a handshake; none where it has what was not offered (section 5.1).
    #[must_use]
    pub fn of(offered: bool, answer: &HeaderMap) -> Option<Self> {
        let mut extensions = Vec::new();
        for field in answer.get_all(SEC_WEBSOCKET_EXTENSIONS) {
            let names = field.to_str().ok()?.split(',').map(str::trim);
            extensions.extend(names.filter(|name| !name.is_empty()));
        }
        match extensions.as_slice() {
            [] => Some(Self::Plain),
            [extension] if offered => Self::deflate(extension),
            _ => None,
        }
    }

    /// The server may shrink its window unasked; ours, and what nobody knows, it may not speak of (section 7.1).
    fn deflate(extension: &str) -> Option<Self> {
        let mut parts = extension.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut seen = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                None => (part, None),
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            };
            let known = match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
                ("server_max_window_bits", Some(bits)) => bits.parse().is_ok_and(|bits: u8| (8..=15).contains(&bits)),
                _ => false,
            };
            if !known || seen.contains(&name) {
                return None;
            }
            seen.push(name);
        }
        Some(Self::Deflate {
            keeps_context: !seen.contains(&"server_no_context_takeover"),
        })
    }
}

/// A compressed message, as one frame; each begins anew, so that nothing is kept between them.
#[must_use]
pub fn compressed(kind: Data, message: &[u8]) -> Frame {
    let mut deflating = Compress::new(Compression::default(), false);
    let mut payload = Vec::new();
    loop {
        payload.reserve(PIECE.max(message.len() / 2));
        let read = deflating.total_in() as usize;
        let outcome = deflating.compress_vec(&message[read..], &mut payload, FlushCompress::Sync);
        let whole = deflating.total_in() as usize == message.len() && payload.len() < payload.capacity();
        if whole || outcome.is_err() {
            break;
        }
    }
    let flushed = payload.ends_with(&TAIL);
    payload.truncate(payload.len().saturating_sub(TAIL.len()));
    let mut frame = match flushed {
        true => Frame::message(payload, OpCode::Data(kind), true),
        // As every receiver takes it too.
        false => return Frame::message(message.to_vec(), OpCode::Data(kind), true),
    };
    frame.header_mut().rsv1 = true;
    frame
}

/// A lent connection as the library reads it.
pub struct Wire {
    line: Line,
    /// Where compression was offered and not turned down.
    inflating: Option<Box<Inflating>>,
    reads: u32,
}

impl Wire {
    /// Before the handshake, in which compression is offered or not.
    #[must_use]
    pub fn new(line: Line, offers: bool) -> Self {
        Self {
            line,
            inflating: offers.then(Box::default),
            reads: 0,
        }
    }

    /// The handshake is over.
    pub fn agree(&mut self, agreed: Agreed) {
        let Some(inflating) = &mut self.inflating else { return };
        match agreed {
            Agreed::Plain if inflating.input.is_empty() => self.inflating = None,
            Agreed::Plain => inflating.stage = Stage::Plain,
            Agreed::Deflate { keeps_context } => {
                (inflating.stage, inflating.keeps_context) = (Stage::Between, keeps_context);
            }
        }
    }

    /// Whether messages may be sent compressed.
    #[must_use]
    pub fn deflates(&self) -> bool {
        let agreed = |inflating: &Inflating| !matches!(inflating.stage, Stage::Plain | Stage::Head { .. });
        self.inflating.as_deref().is_some_and(agreed)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { line, inflating, reads } = &mut *self;
        let Some(inflating) = inflating else {
            return Pin::new(line).poll_read(context, buffer);
        };
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // A little that comes may be a lot to read.
        *reads += 1;
        if *reads > READS_PER_TURN {
            *reads = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while !inflating.give(buffer) {
            if inflating.advance()? {
                continue;
            }
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            let read = Pin::new(&mut *line).poll_read(context, &mut piece);
            if read.is_pending() {
                inflating.rest();
            }
            ready!(read)?;
            if piece.filled().is_empty() {
                break;
            }
            inflating.input.extend_from_slice(piece.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

/// Where in the stream of bytes the next one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the answer to the handshake, so many bytes into its end; the library gets that and nothing after it, since
    /// what it has read it does not read again.
    Head { matched: usize },
    /// Nothing is compressed.
    Plain,
    /// At the header of a frame.
    Between,
    /// In a frame that goes on as it is.
    Passing { left: u64 },
    /// In one of a compressed message.
    Inflating { left: u64, is_final: bool },
    /// After the last of one, with so much of the tail to come.
    Ending { left: usize },
}

/// What comes, on its way to the library; holds no more than was read at once and what one step makes of that.
struct Inflating {
    stage: Stage,
    input: BytesMut,
    output: Vec<u8>,
    /// How much of it the library has.
    given: usize,
    keeps_context: bool,
    decompress: Option<Decompress>,
    /// What its next fragment is called; none where no compressed message has begun.
    message: Option<Data>,
    /// There may be more without reading more.
    is_full: bool,
}

impl Default for Inflating {
    fn default() -> Self {
        Self {
            stage: Stage::Head { matched: 0 },
            input: BytesMut::new(),
            output: Vec::new(),
            given: 0,
            keeps_context: false,
            decompress: None,
            message: None,
            is_full: false,
        }
    }
}

impl Inflating {
    /// Gives the library what is ready for it; whether there was anything.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let ready = &self.output[self.given..];
        let length = ready.len().min(buffer.remaining());
        buffer.put_slice(&ready[..length]);
        self.given += length;
        if self.given == self.output.len() {
            self.output.clear();
            self.given = 0;
        }
        length > 0
    }

    /// All that came is given; who waits holds no memory for what may come.
    fn rest(&mut self) {
        self.output = Vec::new();
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Takes one step; false where more has to come first.
    fn advance(&mut self) -> io::Result<bool> {
        match self.stage {
            Stage::Head { matched } => Ok(self.head(matched)),
            Stage::Plain => Ok(self.pass(u64::MAX) > 0),
            Stage::Between => self.header(),
            Stage::Passing { left: 0 } => {
                self.stage = Stage::Between;
                Ok(true)
            }
            Stage::Passing { left } => {
                let passed = self.pass(left);
                self.stage = Stage::Passing { left: left - passed };
                Ok(passed > 0)
            }
            Stage::Inflating { left: 0, is_final } if !self.is_full => {
                self.stage = match is_final {
                    true => Stage::Ending { left: TAIL.len() },
                    false => Stage::Between,
                };
                Ok(true)
            }
            Stage::Inflating { left, is_final } => {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
                if length == 0 && !self.is_full {
                    return Ok(false);
                }
                let mut input = std::mem::take(&mut self.input);
                let read = self.inflate(&input[..length])?;
                input.advance(read);
                self.input = input;
                self.stage = Stage::Inflating {
                    left: left - read as u64,
                    is_final,
                };
                Ok(true)
            }
            Stage::Ending { left: 0 } if !self.is_full => {
                self.end_message()?;
                Ok(true)
            }
            Stage::Ending { left } => {
                let read = self.inflate(&TAIL[TAIL.len() - left..])?;
                self.stage = Stage::Ending { left: left - read };
                Ok(true)
            }
        }
    }

    fn head(&mut self, mut matched: usize) -> bool {
        let mut length = 0;
        while length < self.input.len() && matched < HEAD_END.len() {
            let byte = self.input[length];
            matched = match byte {
                _ if byte == HEAD_END[matched] => matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            length += 1;
        }
        self.stage = Stage::Head { matched };
        self.pass(length as u64) > 0
    }

    /// Passes so much on as it is.
    fn pass(&mut self, most: u64) -> u64 {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.input.len());
        self.output.extend_from_slice(&self.input[..length]);
        self.input.advance(length);
        length as u64
    }

    fn header(&mut self) -> io::Result<bool> {
        let mut cursor = Cursor::new(&self.input[..]);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(damaged)? else {
            return Ok(false);
        };
        let read = cursor.position() as usize;
        self.input.advance(read);
        // What a server may not send goes on as it is, for the library to refuse.
        let sound = !header.rsv2 && !header.rsv3 && header.mask.is_none();
        let deflated = match header.opcode {
            OpCode::Data(Data::Continue) => self.message.is_some() && !header.rsv1,
            OpCode::Data(kind) if header.rsv1 => {
                self.message = sound.then_some(kind);
                true
            }
            _ => false,
        };
        self.stage = if deflated && sound {
            Stage::Inflating {
                left: length,
                is_final: header.is_final,
            }
        } else {
            header.format(length, &mut self.output).map_err(damaged)?;
            Stage::Passing { left: length }
        };
        Ok(true)
    }

    /// Inflates what fits of `piece` into a fragment: how much was read.
    fn inflate(&mut self, piece: &[u8]) -> io::Result<usize> {
        let decompress = self.decompress.get_or_insert_with(|| Decompress::new(false));
        let mut inflated = [0; PIECE];
        let before = (decompress.total_in(), decompress.total_out());
        let status = decompress
            .decompress(piece, &mut inflated, FlushDecompress::None)
            .map_err(damaged)?;
        let read = (decompress.total_in() - before.0) as usize;
        let written = (decompress.total_out() - before.1) as usize;
        if status == Status::StreamEnd {
            // A sender may end a stream within a message (section 7.2.3.4); the next begins without a context.
            decompress.reset(false);
        }
        if read == 0 && written == 0 && !piece.is_empty() {
            return Err(damaged(status));
        }
        self.is_full = written == PIECE;
        if written > 0 {
            self.fragment(&inflated[..written], false)?;
        }
        Ok(read)
    }

    fn fragment(&mut self, payload: &[u8], is_final: bool) -> io::Result<()> {
        let kind = self.message.replace(Data::Continue).unwrap_or(Data::Continue);
        let header = FrameHeader {
            is_final,
            opcode: OpCode::Data(kind),
            ..FrameHeader::default()
        };
        header.format(payload.len() as u64, &mut self.output).map_err(damaged)?;
        self.output.extend_from_slice(payload);
        Ok(())
    }

    fn end_message(&mut self) -> io::Result<()> {
        self.fragment(&[], true)?;
        self.message = None;
        if !self.keeps_context {
            self.decompress = None;
        }
        self.stage = Stage::Between;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the library gets to read of pieces that come one after the other.
    fn through(pieces: &[&[u8]], stage: Stage, keeps_context: bool) -> io::Result<Vec<u8>> {
        let mut inflating = Inflating {
            stage,
            keeps_context,
            ..Inflating::default()
        };
        let mut read = Vec::new();
        for piece in pieces {
            inflating.input.extend_from_slice(piece);
            loop {
                assert!(inflating.output.len() <= 2 * PIECE + piece.len(), "bounded");
                let mut buffer = [0; 100];
                let mut buffer = ReadBuf::new(&mut buffer);
                let given = inflating.give(&mut buffer);
                read.extend_from_slice(buffer.filled());
                if !given && !inflating.advance()? {
                    break;
                }
            }
        }
        Ok(read)
    }

    /// The messages of a stream of frames as the library puts them together, pings among them.
    fn messages(frames: &[u8]) -> Vec<(OpCode, Vec<u8>)> {
        let (mut found, mut begun) = (Vec::new(), None);
        let mut cursor = Cursor::new(frames);
        while let Some((header, length)) = FrameHeader::parse(&mut cursor).unwrap() {
            assert!(!header.rsv1, "{header:?}");
            let from = cursor.position() as usize;
            let payload = &frames[from..from + length as usize];
            cursor.set_position((from + payload.len()) as u64);
            match header.opcode {
                OpCode::Control(_) => found.push((header.opcode, payload.to_vec())),
                OpCode::Data(Data::Continue) => begun
                    .as_mut()
                    .map(|(_, text): &mut (_, Vec<u8>)| text.extend(payload))
                    .unwrap(),
                kind => assert!(begun.replace((kind, payload.to_vec())).is_none()),
            }
            if header.is_final && matches!(header.opcode, OpCode::Data(_)) {
                found.extend(begun.take());
            }
        }
        assert_eq!(cursor.position() as usize, frames.len());
        found
    }

    fn bytes_of(frame: Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    /// What a sender makes of a message who goes on in the window of the one before.
    fn in_context(window: &mut Compress, message: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(message.len() + 100);
        window.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - TAIL.len());
        payload
    }

    fn marked(payload: Vec<u8>, opcode: Data, is_final: bool) -> Vec<u8> {
        let mut frame = Frame::message(payload, OpCode::Data(opcode), is_final);
        frame.header_mut().rsv1 = opcode != Data::Continue;
        bytes_of(frame)
    }

    const TEXT: OpCode = OpCode::Data(Data::Text);

    #[test]
    fn what_was_compressed_comes_out_however_it_is_cut() {
        let (long, empty) = ("the same again, ".repeat(2_000).into_bytes(), Vec::new());
        let mut window = Compress::new(Compression::default(), false);
        let mut frames = bytes_of(compressed(Data::Text, &long));
        assert!(frames.len() < long.len() / 50 && frames[0] == 0xc1);
        frames.extend(bytes_of(compressed(Data::Binary, &empty)));
        frames.extend(bytes_of(Frame::message("as it is", TEXT, true)));
        let halves = in_context(&mut window, b"in two frames");
        frames.extend(marked(halves[..5].to_vec(), Data::Text, false));
        frames.extend(bytes_of(Frame::ping("?")));
        frames.extend(marked(halves[5..].to_vec(), Data::Continue, false));
        frames.extend(marked(Vec::new(), Data::Continue, true));
        let expected = vec![
            (TEXT, long),
            (OpCode::Data(Data::Binary), empty),
            (TEXT, b"as it is".to_vec()),
            (
                OpCode::Control(tokio_tungstenite::tungstenite::protocol::frame::coding::Control::Ping),
                b"?".to_vec(),
            ),
            (TEXT, b"in two frames".to_vec()),
        ];
        for cut in 0..=frames.len() {
            let (before, after) = frames.split_at(cut);
            let read = through(&[before, after], Stage::Between, false).unwrap();
            assert_eq!(messages(&read), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_server_that_keeps_its_window_is_understood_and_one_that_may_not_is_not() {
        let mut window = Compress::new(Compression::default(), false);
        let message = b"a message that is so long that the second refers to the first";
        let sent: Vec<Vec<u8>> = (0..3)
            .map(|_| marked(in_context(&mut window, message), Data::Text, true))
            .collect();
        assert!(sent[1].len() < sent[0].len() / 2);
        let frames = sent.concat();
        let read = through(&[&frames], Stage::Between, true).unwrap();
        assert_eq!(messages(&read), vec![(TEXT, message.to_vec()); 3]);
        // The inflater takes what is before the beginning as zeros.
        let read = through(&[&frames], Stage::Between, false).unwrap();
        let first = messages(&read).into_iter().filter(|(_, text)| text == message);
        assert_eq!(first.count(), 1);
    }

    #[test]
    fn a_stream_that_ends_within_a_message_is_followed_by_another() {
        let mut payload = Vec::with_capacity(200);
        let mut last = Compress::new(Compression::default(), false);
        last.compress_vec(b"one ", &mut payload, FlushCompress::Finish).unwrap();
        payload.extend(in_context(&mut Compress::new(Compression::default(), false), b"two"));
        let read = through(&[&marked(payload, Data::Text, true)], Stage::Between, false).unwrap();
        assert_eq!(messages(&read), [(TEXT, b"one two".to_vec())]);
    }

    #[test]
    fn the_library_gets_the_answer_to_the_handshake_and_nothing_after_it() {
        let head = b"HTTP/1.1 101 Switching\r\nupgrade: \r\r\r\n\r\n";
        let all = [head.as_slice(), b"\x81\x02hi\r\n\r\n"].concat();
        for cut in 0..=all.len() {
            let (before, after) = all.split_at(cut);
            let read = through(&[before, after], Stage::Head { matched: 0 }, false).unwrap();
            assert_eq!(read, head, "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_is_what_was_offered_or_refused() {
        let deflate = |keeps_context| Some(Agreed::Deflate { keeps_context });
        for (offered, answer, agreed) in [
            (false, "", Some(Agreed::Plain)),
            (true, "", Some(Agreed::Plain)),
            (true, "permessage-deflate", deflate(true)),
            (
                true,
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                deflate(false),
            ),
            (
                true,
                "Permessage-Deflate;server_max_window_bits=\"10\" ;server_no_context_takeover",
                deflate(false),
            ),
            (false, "permessage-deflate", None),
            (true, "x-webkit-deflate-frame", None),
            (true, "permessage-deflate, permessage-deflate", None),
            (true, "permessage-deflate; client_max_window_bits=10", None),
            (true, "permessage-deflate; server_max_window_bits=7", None),
            (true, "permessage-deflate; server_max_window_bits", None),
            (true, "permessage-deflate; server_no_context_takeover=1", None),
            (
                true,
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                None,
            ),
            (true, "permessage-deflate; turbo", None),
        ] {
            let mut headers = HeaderMap::new();
            if !answer.is_empty() {
                headers.insert(SEC_WEBSOCKET_EXTENSIONS, answer.parse().unwrap());
            }
            assert_eq!(Agreed::of(offered, &headers), agreed, "{offered} {answer:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_not_compressed_stays_as_it_is(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = through(&[&bytes], Stage::Between, false);
            let _ = through(&[b"\xc1\x7e\x02\x00", &bytes], Stage::Between, true);
            let plain = bytes_of(Frame::message(bytes.clone(), TEXT, true));
            prop_assert_eq!(through(&[&plain], Stage::Between, false).unwrap(), plain);
            let packed = bytes_of(compressed(Data::Binary, &bytes));
            let read = through(&[&packed], Stage::Between, false).unwrap();
            prop_assert_eq!(messages(&read), [(OpCode::Data(Data::Binary), bytes)]);
        }
    }
}
