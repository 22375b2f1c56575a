//! tmp
mod stand_in;
fn main() {}
