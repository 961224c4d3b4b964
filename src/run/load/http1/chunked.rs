//! The chunked coding (RFC 9112, section 7.1): sizes with extensions, data, trailers; what is not data is passed over.

use super::ProtocolError;

/// Bytes of extensions, and of trailers, over a whole body at most; they are overhead nobody asked for.
const OVERHEAD_MAX: usize = 16 * 1024;
/// Trailers at most; the same bound as hyper's.
const TRAILERS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    Start,
    Size,
    /// White space after the size.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a line after the last chunk.
    End,
    EndLf,
    Trailer,
    TrailerLf,
}

/// Where in a chunked body the reading is.
#[derive(Clone, Debug)]
pub(super) struct Chunked {
    at: At,
    /// The size being read, then the data left of the chunk.
    left: u64,
    extensions: usize,
    /// Trailers so far; empty in the usual case of none.
    trailers: Vec<u8>,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            at: At::Start,
            left: 0,
            extensions: 0,
            trailers: Vec::new(),
        }
    }
}

/// What a piece of input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes of input used.
    pub(super) used: usize,
    /// Bytes of data among them.
    pub(super) body: u64,
    /// Whether the body is whole.
    pub(super) whole: bool,
}

impl Chunked {
    /// Reads on and hands data over.
    pub(super) fn feed(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<Read, ProtocolError> {
        let mut used = 0;
        let mut body = 0;
        while used < input.len() {
            if self.at == At::Data {
                let rest = &input[used..];
                let piece = &rest[..rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))];
                data(piece);
                used += piece.len();
                body += piece.len() as u64;
                self.left -= piece.len() as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            let byte = input[used];
            used += 1;
            if self.at == At::EndLf {
                if byte != b'\n' {
                    return Err(ProtocolError::Chunk);
                }
                self.check_trailers()?;
                return Ok(Read {
                    used,
                    body,
                    whole: true,
                });
            }
            self.at = self.step(byte)?;
        }
        Ok(Read {
            used,
            body,
            whole: false,
        })
    }

    /// The next state after one byte that is no data.
    fn step(&mut self, byte: u8) -> Result<At, ProtocolError> {
        let next = match (self.at, byte) {
            (At::Start | At::Size, digit) if digit.is_ascii_hexdigit() => {
                let value = (digit as char).to_digit(16).map_or(0, u64::from);
                let size = self.left.checked_mul(16).and_then(|size| size.checked_add(value));
                self.left = size.ok_or(ProtocolError::Chunk)?;
                At::Size
            }
            (At::Size | At::SizeSpace, b'\t' | b' ') => At::SizeSpace,
            (At::Size | At::SizeSpace, b';') => At::Extension,
            (At::Size | At::SizeSpace | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, other) if other != b'\n' => self.extension()?,
            (At::SizeLf, b'\n') if self.left == 0 => At::End,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Start,
            (At::End, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => self.trailer(byte, At::TrailerLf)?,
            (At::End | At::Trailer, _) => self.trailer(byte, At::Trailer)?,
            (At::TrailerLf, b'\n') => self.trailer(byte, At::End)?,
            _ => return Err(ProtocolError::Chunk),
        };
        Ok(next)
    }

    fn extension(&mut self) -> Result<At, ProtocolError> {
        self.extensions += 1;
        if self.extensions > OVERHEAD_MAX {
            return Err(ProtocolError::Chunk);
        }
        Ok(At::Extension)
    }

    fn trailer(&mut self, byte: u8, next: At) -> Result<At, ProtocolError> {
        if self.trailers.len() >= OVERHEAD_MAX {
            return Err(ProtocolError::Chunk);
        }
        self.trailers.push(byte);
        Ok(next)
    }

    /// Trailers are header fields, or the response is broken.
    fn check_trailers(&mut self) -> Result<(), ProtocolError> {
        if self.trailers.is_empty() {
            return Ok(());
        }
        self.trailers.extend_from_slice(b"\r\n");
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        match httparse::parse_headers(&self.trailers, &mut fields) {
            Ok(httparse::Status::Complete(_)) => Ok(()),
            _ => Err(ProtocolError::Chunk),
        }
    }
}
