//! The `consort` command: calls the library and ends with its exit code.

fn main() {}
