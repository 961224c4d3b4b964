//! Content codings at work: bodies are sent in one and looked at without it. What comes out of an answer's body is bounded,
//! whatever it would expand to. Knows nothing of framing; bodies nobody looks at never come here.

use std::io::{self, Read, Write as _};

use flate2::{Compression, Decompress, FlushDecompress, Status};

use crate::plan::Coding;

/// Codings over one another at most; servers use one, proxies may add another.
const CODINGS_MAX: usize = 4;
/// What expands beyond the bound at more than this many times its size is a bomb, not a long body.
const EXPANSION_MAX: usize = 200;
/// The largest window of zstd, as log2 of bytes: what RFC 8878 asks decoders to support.
const ZSTD_WINDOW_MAX: u32 = 23;
/// Brotli's read buffer, bytes; small, so that what has been read of the body is known well enough.
const BROTLI_BUFFER: usize = 1024;

/// The codings of one body in the order they were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codings {
    applied: [Option<Coding>; CODINGS_MAX],
    unknown: bool,
}

/// What became of a body that could be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// It is what was encoded.
    Whole,
    /// It is the beginning of something longer than the limit.
    Longer,
}

/// A body that is not what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// Its coding has no decoder here, or there are too many over one another.
    #[error("the body's content coding is not known")]
    Unknown,
    /// It is damaged, cut, or followed by something else.
    #[error("the body is not whole in its content coding")]
    Broken,
    /// It expands without measure.
    #[error("the body expands more than {EXPANSION_MAX}-fold beyond what is kept")]
    Bomb,
}

impl Codings {
    /// Those of a head whose Content-Encoding fields have these values.
    pub fn of<'h>(fields: impl Iterator<Item = &'h [u8]>) -> Self {
        let mut codings = Self::default();
        let tokens = fields
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii);
        let mut room = 0;
        for token in tokens {
            let coding = match token.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Some(Coding::Gzip),
                b"deflate" => Some(Coding::Deflate),
                b"br" => Some(Coding::Brotli),
                b"zstd" => Some(Coding::Zstd),
                _ => None,
            };
            match codings.applied.get_mut(room) {
                Some(place) if coding.is_some() => *place = coding,
                _ => codings.unknown = true,
            }
            room += 1;
        }
        codings
    }

    /// Whether the body is as it was.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.unknown && self.applied[0].is_none()
    }

    /// Takes the codings off `body`, of which at most `limit` bytes stay; each coding costs no more than that to take off.
    pub fn decode(&self, body: &mut Vec<u8>, limit: usize) -> Result<Decoded, CodingError> {
        if body.is_empty() {
            return Ok(Decoded::Whole);
        }
        if self.unknown {
            return Err(CodingError::Unknown);
        }
        for coding in self.applied.iter().rev().flatten() {
            let mut plain = Vec::new();
            let read = one(*coding, body, limit, &mut plain)?;
            *body = plain;
            if body.len() > limit {
                body.truncate(limit);
                let bomb = limit / EXPANSION_MAX > read;
                return if bomb {
                    Err(CodingError::Bomb)
                } else {
                    Ok(Decoded::Longer)
                };
            }
        }
        Ok(Decoded::Whole)
    }
}

/// Takes one coding off, up to a byte more than `limit`: how many bytes of `body` were read for it.
fn one(coding: Coding, body: &[u8], limit: usize, plain: &mut Vec<u8>) -> Result<usize, CodingError> {
    let bound = limit as u64 + 1;
    let mut rest = body;
    let outcome = match coding {
        Coding::Deflate => return inflate(body, limit, plain),
        Coding::Gzip => flate2::bufread::MultiGzDecoder::new(&mut rest)
            .take(bound)
            .read_to_end(plain),
        Coding::Brotli => brotli_decompressor::Decompressor::new(&mut rest, BROTLI_BUFFER)
            .take(bound)
            .read_to_end(plain),
        Coding::Zstd => zstd(&mut rest, bound, plain),
    };
    outcome.map_err(|_| CodingError::Broken)?;
    Ok(body.len() - rest.len())
}

fn zstd(rest: &mut &[u8], bound: u64, plain: &mut Vec<u8>) -> io::Result<usize> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(rest)?;
    decoder.window_log_max(ZSTD_WINDOW_MAX)?;
    decoder.take(bound).read_to_end(plain)
}

/// `deflate` means zlib, but there are servers that send it bare, and browsers take both.
fn inflate(body: &[u8], limit: usize, plain: &mut Vec<u8>) -> Result<usize, CodingError> {
    const STEP: usize = 32 * 1024;
    let zlib = matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0);
    let mut inflating = Decompress::new(zlib);
    loop {
        plain.reserve(STEP);
        let (read, written) = (inflating.total_in() as usize, plain.len());
        let status = inflating
            .decompress_vec(&body[read..], plain, FlushDecompress::None)
            .map_err(|_| CodingError::Broken)?;
        let read_now = inflating.total_in() as usize;
        match status {
            _ if plain.len() > limit => return Ok(read_now),
            Status::StreamEnd if read_now == body.len() => return Ok(read_now),
            Status::StreamEnd => return Err(CodingError::Broken),
            _ if read_now == read && plain.len() == written => return Err(CodingError::Broken),
            _ => {}
        }
    }
}

/// `body` in a coding; as it is where that is one that bodies are not sent in.
#[must_use]
pub fn encode(coding: Coding, body: &[u8]) -> Vec<u8> {
    const MEMORY: &str = "writing to memory cannot fail";
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).expect(MEMORY);
            encoder.finish().expect(MEMORY)
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).expect(MEMORY);
            encoder.finish().expect(MEMORY)
        }
        Coding::Zstd => zstd::stream::encode_all(body, zstd::DEFAULT_COMPRESSION_LEVEL).expect(MEMORY),
        Coding::Brotli => body.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;
    /// `hello hello hello` by the reference encoder of brotli.
    const IN_BROTLI: &[u8] = b"\x1b\x10\x00\xf8\x8d\x94n\xdeDU\x86\x96l o\x01O\x1c`\x1c";

    fn codings(text: &str) -> Codings {
        Codings::of([text.as_bytes()].into_iter())
    }

    fn decoded(header: &str, body: &[u8]) -> Result<(Decoded, Vec<u8>), CodingError> {
        let mut body = body.to_vec();
        let decoded = codings(header).decode(&mut body, LIMIT)?;
        Ok((decoded, body))
    }

    #[test]
    fn every_coding_is_taken_off_and_several_in_their_order() {
        let text = b"hello hello hello".as_slice();
        let zlib = encode(Coding::Deflate, text);
        for (header, body) in [
            ("gzip", encode(Coding::Gzip, text)),
            ("X-Gzip, identity,", encode(Coding::Gzip, text)),
            ("deflate", zlib.clone()),
            // Without the head and the checksum of zlib.
            ("deflate", zlib[2..zlib.len() - 4].to_vec()),
            ("zstd", encode(Coding::Zstd, text)),
            ("br", IN_BROTLI.to_vec()),
            ("identity", text.to_vec()),
            ("", text.to_vec()),
        ] {
            assert_eq!(decoded(header, &body), Ok((Decoded::Whole, text.to_vec())), "{header}");
        }
        let twice = encode(Coding::Zstd, &encode(Coding::Gzip, text));
        assert_eq!(decoded("gzip, zstd", &twice), Ok((Decoded::Whole, text.to_vec())));
        assert_eq!(decoded("zstd, gzip", &twice), Err(CodingError::Broken));
        let fields = Codings::of([b"gzip".as_slice(), b"zstd"].into_iter());
        assert_eq!(fields, codings("gzip, zstd"), "several fields are one list");
        assert_eq!(
            decoded("gzip", b""),
            Ok((Decoded::Whole, Vec::new())),
            "nothing is in no coding"
        );
    }

    #[test]
    fn what_is_cut_or_damaged_is_broken() {
        let text = vec![b'x'; 5_000];
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let body = encode(coding, &text);
            for cut in 1..body.len() {
                let found = decoded(coding.name(), &body[..cut]);
                assert_eq!(found, Err(CodingError::Broken), "{coding:?} {cut}");
            }
            let more = [body.as_slice(), b"garbage"].concat();
            assert_eq!(decoded(coding.name(), &more), Err(CodingError::Broken), "{coding:?}");
        }
        for cut in 1..IN_BROTLI.len() {
            assert_eq!(decoded("br", &IN_BROTLI[..cut]), Err(CodingError::Broken), "{cut}");
        }
        assert_eq!(decoded("gzip", b"plain text"), Err(CodingError::Broken));
        for unknown in ["compress", "gzip, aws-chunked", "gzip, gzip, gzip, gzip, gzip"] {
            assert_eq!(decoded(unknown, b"x"), Err(CodingError::Unknown), "{unknown}");
            assert!(!codings(unknown).is_plain());
        }
    }

    #[test]
    fn a_bomb_is_named_and_takes_no_more_memory_than_a_long_body() {
        let bomb = vec![0; 64 << 20];
        let mut random = fastrand::Rng::with_seed(7);
        let long: Vec<u8> = (0..2 << 20).map(|_| b"0123456789abcdef"[random.usize(..16)]).collect();
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let mut body = encode(coding, &bomb);
            assert_eq!(
                codings(coding.name()).decode(&mut body, LIMIT),
                Err(CodingError::Bomb),
                "{coding:?}"
            );
            assert!(
                body.capacity() <= 2 * LIMIT + (64 << 10),
                "{coding:?} {}",
                body.capacity()
            );
            let mut body = encode(coding, &long);
            assert_eq!(
                codings(coding.name()).decode(&mut body, LIMIT),
                Ok(Decoded::Longer),
                "{coding:?}"
            );
            assert_eq!(body, long[..LIMIT], "{coding:?}");
        }
        let nested = encode(Coding::Gzip, &encode(Coding::Gzip, &bomb));
        assert_eq!(decoded("gzip, gzip", &nested), Err(CodingError::Bomb));
    }

    proptest! {
        #[test]
        fn no_body_panics(header in "(gzip|br|zstd|deflate)", start in 0usize..3, body in prop::collection::vec(any::<u8>(), 0..300)) {
            let starts: [&[u8]; 3] = [b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"];
            let _ = decoded(&header, &[starts[start], &body].concat());
        }

        #[test]
        fn what_is_sent_can_be_read(body in prop::collection::vec(any::<u8>(), 1..3000)) {
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
                prop_assert_eq!(decoded(coding.name(), &encode(coding, &body)), Ok((Decoded::Whole, body.clone())));
            }
        }
    }
}
