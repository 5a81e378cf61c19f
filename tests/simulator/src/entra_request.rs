//! A request to one of Entra's pages or token endpoints: what its path says of it.

use crate::http::Request;

/// Which of the two generations was asked: they differ in names, and in how numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EntraRequest<'a> {
    pub(crate) request: &'a Request,
    /// The tenant, as the path has it.
    pub(crate) segment: &'a str,
    pub(crate) version: Version,
}
