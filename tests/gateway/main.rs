//! The real binary on free ports, with real clients before it and recording servers behind it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod acting;
mod advisories;
mod agreement;
mod audit;
mod bearer;
mod certificates;
mod command_line;
mod connections;
mod cookies;
mod drift;
mod exchange;
mod explain;
mod extension;
mod faults;
mod flood;
mod identities;
mod issuer;
mod login;
mod logout;
mod lookups;
mod operations;
mod organisations;
mod patterns;
mod perimeter;
mod policy_cases;
mod policy_files;
mod pools;
mod provider_down;
mod rate_limits;
mod raw;
mod redis_topologies;
mod refresh;
mod reload;
mod replicas;
mod revoked;
mod secrets;
mod separation;
mod slow_answers;
mod soak;
mod spellings;
mod status;
mod streams;
mod sts_failures;
mod sts_forgeries;
mod sts_lies;
mod support;
mod tls;
mod token_inspect;
mod traces;
mod upgrade;
mod upstream;
mod upstream_tls;

#[expect(dead_code, unused_imports, reason = "the demo uses more of the stand-ins than the tests")]
#[path = "../../src/bin/portcullis-demo"]
mod demo {
    pub(crate) mod stand_in;
}
