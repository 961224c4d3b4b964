//! Tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4), got before the load begins and renewed before they end,
//! beside the load: who sends a request finds a token ready. Where one cannot be renewed, the old one is sent on, and what
//! the target says to it is the answer.

mod ask;
mod desk;
mod held;
mod keep;

pub use ask::TokenError;
pub use desk::{Desk, Holder, Inbox, UserToken};
pub use held::Held;
pub use keep::{Keeping, Tokens};
