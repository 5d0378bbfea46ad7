//! The `prefect-guard` binary.

fn main() {}
