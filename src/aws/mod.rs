//! The AWS SDK lives here and nowhere else; no SDK type leaves this folder.
