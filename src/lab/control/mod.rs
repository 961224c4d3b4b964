//! The AWS endpoint: wire protocols in front of the world.
