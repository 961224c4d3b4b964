//! The only door to arguments, environment, files and terminal.
