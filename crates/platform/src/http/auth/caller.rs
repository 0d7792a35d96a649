//! Whom a request is for, as its handler sees it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

/// Who asks, as far as a handler has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// May act for every buyer: a service, an operator, or everybody where nobody is asked.
    Trusted,
    /// A buyer, who may act for himself only.
    Customer(Arc<str>),
}

impl Caller {
    /// The one buyer he may act for; `None`: all.
    #[must_use]
    pub fn buyer(&self) -> Option<&str> {
        match self {
            Self::Trusted => None,
            Self::Customer(buyer) => Some(buyer),
        }
    }
}

impl FromRequest for Caller {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        ready(Ok(caller.unwrap_or(Self::Trusted)))
    }
}
