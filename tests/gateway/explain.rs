//! `portcullis explain`, as an operator meets it.
