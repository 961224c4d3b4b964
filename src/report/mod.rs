//! What people and machines read: terminal, JSON (the versioned contract), HTML, JUnit.
