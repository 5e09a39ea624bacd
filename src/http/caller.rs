//! Who asks, for the handlers.

use super::gate::Need;
use crate::access::{Scope, Token};
use crate::intake::Owner;
use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub enum Caller {
    /// No token is configured.
    Local,
    /// With the token of the configuration.
    Config,
    /// With one that an admin has made.
    Token(Arc<Token>),
}

impl Caller {
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Caller::Local | Caller::Config => true,
            Caller::Token(token) => token.scopes.iter().any(|s| *s == scope || *s == Scope::Admin),
        }
    }

    pub fn may(&self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Own => self.has(Scope::Submit) || self.has(Scope::Read),
            Need::Submit => self.has(Scope::Submit),
            Need::Read => self.has(Scope::Read),
            Need::Admin => self.has(Scope::Admin),
        }
    }

    /// The token whose own jobs alone this one may see, or may change.
    pub fn only_own(&self, method: &Method) -> Option<&str> {
        match self {
            Caller::Token(token) if !self.may(if method.is_safe() { Need::Read } else { Need::Admin }) => Some(&token.id),
            _ => None,
        }
    }

    /// To whom the files and jobs belong that it sends; none: to the site.
    pub fn owner(&self) -> Option<Owner> {
        match self {
            Caller::Token(token) if !self.has(Scope::Admin) => Some(Owner { token: token.id.clone(), quota: token.quota, alone: !token.reuse }),
            _ => None,
        }
    }

    /// For the record of what admins do.
    pub fn who(&self) -> String {
        match self {
            Caller::Local => "local".into(),
            Caller::Config => "config".into(),
            Caller::Token(token) => format!("{} ({})", token.name, token.id),
        }
    }
}

/// A link's holder is nobody; what links open does not ask who it is.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Caller::Local))
    }
}
