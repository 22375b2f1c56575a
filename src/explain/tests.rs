use serde_json::{Value, json};

use super::*;
use crate::config;

const NOW: Timestamp = Timestamp(1_800_000_000);
const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const OTHER: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
