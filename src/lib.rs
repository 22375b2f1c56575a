//! Portcullis: the identity-aware edge proxy in front of Procivis One Core.

pub mod answer;
pub mod authentication;
pub mod bearer;
pub mod http_client;
pub mod identity;
pub mod jwks;
pub mod organisation;
pub mod permission;
pub mod refusal;
pub mod time;
