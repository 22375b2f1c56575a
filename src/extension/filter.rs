//! Filters on a request's way to its upstream and back.

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};

use super::{BodyFilter, Headers, Request, guard::called, registered::Extensions};
use crate::refusal::{Reason, Refusal};

/// What the bodies of one request pass. Empty where no filter wants them.
#[derive(Default)]
pub(crate) struct Bodies {
    pub(crate) request: Pieces,
    pub(crate) response: Pieces,
}

/// The filters that one body passes, in their order.
#[derive(Default)]
pub(crate) struct Pieces {
    filters: Vec<Box<dyn BodyFilter>>,
    passed: u64,
}

impl Extensions {
    /// Takes the credentials of our authenticators out of a request and lets filters change the
    /// rest. What the body passes is returned, where there is one.
    ///
    /// # Errors
    /// `condition_failed` when a filter fails.
    pub(crate) fn filter_request(
        &self,
        request: Request<'_>,
        out: &mut RequestHeader,
        has_body: bool,
    ) -> Result<Pieces, Refusal> {
        for name in &self.credential_headers {
            out.remove_header(name);
        }
        let mut pieces = Pieces::default();
        for filter in &self.request_filters {
            let filtered = called(|| {
                filter.head(&request, &mut Headers::request(out))?;
                Ok(if has_body { filter.body(&request) } else { None })
            });
            let refused =
                filtered.map_err(|error| error.refusal("request filter", Reason::ConditionFailed));
            pieces.filters.extend(refused?);
        }
        Ok(pieces)
    }

    /// Lets filters change a response. What the body passes is returned.
    ///
    /// # Errors
    /// `upstream_failed` when a filter fails.
    pub(crate) fn filter_response(
        &self,
        request: Request<'_>,
        response: &mut ResponseHeader,
    ) -> Result<Pieces, Refusal> {
        let status = response.status.as_u16();
        let mut pieces = Pieces::default();
        for filter in &self.response_filters {
            let filtered = called(|| {
                filter.head(&request, status, &mut Headers::response(response))?;
                Ok(filter.body(&request, status))
            });
            let refused =
                filtered.map_err(|error| error.refusal("response filter", Reason::UpstreamFailed));
            pieces.filters.extend(refused?);
        }
        if !pieces.is_empty() {
            // Its length is not known any more, nor is it what the tag stands for.
            response.remove_header(&header::CONTENT_LENGTH);
            response.remove_header(&header::ACCEPT_RANGES);
        }
        Ok(pieces)
    }
}

impl Pieces {
    pub(crate) const fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// What goes on in place of a piece.
    ///
    /// # Errors
    /// With this reason when a filter fails.
    pub(crate) fn pass(
        &mut self,
        piece: &mut Option<Bytes>,
        is_last: bool,
        reason: Reason,
    ) -> Result<(), Refusal> {
        let mut passing = piece.take().unwrap_or_default();
        for filter in &mut self.filters {
            let passed = called(|| {
                let mut out = if passing.is_empty() {
                    Bytes::new()
                } else {
                    filter.piece(std::mem::take(&mut passing))?
                };
                if is_last {
                    let rest = filter.end()?;
                    if !rest.is_empty() {
                        let mut both = BytesMut::from(out);
                        both.extend_from_slice(&rest);
                        out = both.freeze();
                    }
                }
                Ok(out)
            });
            passing = passed.map_err(|error| error.refusal("body filter", reason))?;
        }
        self.passed += passing.len() as u64;
        // To Pingora, no piece is the end.
        *piece = (!(passing.is_empty() && is_last)).then_some(passing);
        Ok(())
    }

    /// Bytes that came out.
    pub(crate) const fn passed(&self) -> u64 {
        self.passed
    }
}
