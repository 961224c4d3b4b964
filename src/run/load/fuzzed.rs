//! What fuzz targets ask of the generator's insides. Compiled for them and for tests alone.

use std::task::Waker;

use super::http1::{AtEnd, Head, Progress, Reader, Receiver};
use super::ids::{Ids, Unique};
use super::passes::Owner;
use super::pieces::Filling;
use super::request::{CompiledStep, Scratch};
use super::spoken::Spoken;
use super::tokens::UserTokens;
use crate::plan::Plan;
use crate::run::oauth2::Desk;

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    status: Option<u16>,
    body: Vec<u8>,
}

impl Receiver for Heard {
    fn head(&mut self, head: &Head<'_>) {
        assert_eq!(self.status, None, "a response has one head");
        self.status = Some(head.status);
    }

    fn body(&mut self, piece: &[u8]) {
        assert!(self.status.is_some(), "a body follows its head");
        self.body.extend_from_slice(piece);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// With how many bytes it ended, and whether its connection can be used again.
    Whole(Heard, usize, bool),
    /// With the stream.
    Ended(Heard),
    /// Cut or wrong; which of them, a head that ends before its line does may leave open.
    Not,
}

fn read<'b>(pieces: impl Iterator<Item = &'b [u8]>, to_head: bool) -> Read {
    let (mut reader, mut heard, mut before) = (Reader::default(), Heard::default(), 0);
    for piece in pieces {
        match reader.feed(piece, to_head, &mut heard) {
            Err(_) => return Read::Not,
            Ok(Progress::More) => before += piece.len(),
            Ok(Progress::Whole { used, reusable }) => {
                assert!(used <= piece.len(), "no more than there was");
                return Read::Whole(heard, before + used, reusable);
            }
        }
    }
    match reader.at_end() {
        AtEnd::Whole => Read::Ended(heard),
        AtEnd::Cut => Read::Not,
    }
}

/// Reads a response: cut as they like, the same bytes mean the same.
pub fn response(bytes: &[u8], to_head: bool, length: usize) {
    let whole = read(std::iter::once(bytes), to_head);
    assert_eq!(read(bytes.chunks(length.max(1)), to_head), whole, "pieces of {length}");
    assert_eq!(read(bytes.chunks(1), to_head), whole, "single bytes");
}

/// Fills every HTTP request of a plan with `value` wherever a variable stands: each is one request still, with the fields
/// that it has whatever the value is, and a body of the length it says.
pub fn requests(plan: &Plan, value: &[u8]) {
    let Ok(steps) = CompiledStep::all(plan) else {
        return;
    };
    let tokens = UserTokens::new(plan, Desk::default(), Waker::noop().clone());
    for step in steps.iter().filter(|step| matches!(step.spoken, Spoken::Http)) {
        // Without any cookie there is no field for them.
        let plain = if value.is_empty() { b"".as_slice() } else { b"plain" };
        let fields = [plain, value].map(|value| fields(&filled(step, value, &tokens)));
        assert_eq!(fields[0], fields[1], "{:?}", String::from_utf8_lossy(value));
    }
}

fn filled(step: &CompiledStep, value: &[u8], tokens: &UserTokens) -> Vec<u8> {
    let ids = Ids::new(1, 1.0, 0);
    let filling = &mut Filling {
        random: &mut fastrand::Rng::with_seed(1),
        unique: Unique { ids: &ids, counter: 1 },
        values: &vec![value.to_vec(); step.variables],
        going: "",
        tokens,
        owner: Owner::Arrival,
    };
    step.fill(None, filling, &mut Scratch::default()).to_vec()
}

/// The names of a request's fields.
fn fields(request: &[u8]) -> Vec<String> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(request) {
        Ok(httparse::Status::Complete(head)) => head,
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(request)),
    };
    let told = parsed.headers.iter().find(|field| field.name == "content-length");
    let told = told.map_or("0".into(), |field| String::from_utf8_lossy(field.value));
    assert_eq!(told.parse().ok(), Some(request.len() - head), "{told}");
    parsed.headers.iter().map(|field| field.name.to_owned()).collect()
}
