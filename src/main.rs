//! The relay binary: arguments in, exit code out.
fn main() {}
