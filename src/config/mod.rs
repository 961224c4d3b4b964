//! What the user wrote -> typed values, every mistake at once, with file, line and remedy.
//! Gets text and a name; opens no file and reads no environment.

pub mod objective;
