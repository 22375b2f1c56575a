//! Portcullis: the identity-aware edge proxy in front of Procivis One Core.

pub mod answer;
pub mod credential;
pub mod http_client;
pub mod identity;
pub mod organisation;
pub mod permission;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod roles;
pub mod route;
pub mod sts;
pub mod telemetry;
pub mod time;
pub mod upstream;
