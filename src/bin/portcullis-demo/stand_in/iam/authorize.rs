//! `/authorize` and the login form behind it.
//!
//! A request whose client or redirect is not known is answered here and never redirected
//! (RFC 6749, section 4.1.2.1); every other fault goes back to the client with `state` and `iss`.

use std::sync::Arc;

use axum::{
    extract::{Form, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portcullis::time::Timestamp;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{
    Provider, page,
    state::{Code, Login, Request},
};
use crate::stand_in_random as random_token;
