//! What can go wrong, and how it is told: always as JSON.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("there is no {0}")]
    NotFound(&'static str),
    #[error("the request is not valid")]
    Invalid(BTreeMap<&'static str, &'static str>),
    #[error("{0}")]
    Conflict(String),
    #[error("{}", .0.body_text())]
    Json(#[from] JsonRejection),
    #[error("{}", .0.body_text())]
    Path(#[from] PathRejection),
    #[error("{}", .0.body_text())]
    Query(#[from] QueryRejection),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl AppError {
    pub fn conflict(what: impl Into<String>) -> Self {
        AppError::Conflict(what.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut message = self.to_string();
        let mut fields = BTreeMap::new();
        let (status, code) = match self {
            AppError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            AppError::Invalid(faults) => {
                fields = faults;
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid")
            }
            AppError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            AppError::Json(rejection) => (rejection.status(), "unreadable"),
            AppError::Path(rejection) => (rejection.status(), "unreadable"),
            AppError::Query(rejection) => (rejection.status(), "unreadable"),
            AppError::Database(error) => {
                tracing::error!(%error, "a request failed");
                message = "the shop is out of order; try again later".to_owned();
                match error {
                    sqlx::Error::PoolTimedOut => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
                }
            }
        };
        (status, Json(json!({ "error": { "code": code, "message": message, "fields": fields } }))).into_response()
    }
}

/// Collects what is wrong with a request, so that all of it can be told at once.
#[derive(Default)]
pub struct Faults(BTreeMap<&'static str, &'static str>);

impl Faults {
    pub fn check(mut self, holds: bool, field: &'static str, fault: &'static str) -> Self {
        if !holds {
            self.0.entry(field).or_insert(fault);
        }
        self
    }

    pub fn done(self) -> Result<(), AppError> {
        if self.0.is_empty() { Ok(()) } else { Err(AppError::Invalid(self.0)) }
    }
}
