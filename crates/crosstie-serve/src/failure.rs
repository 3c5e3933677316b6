//! What can go wrong with a request, told so that its sender can mend it.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use tonic::{Code, Status};

/// What is wrong in a request's contents, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The input, parameter or key, if it is about one.
    pub field: Option<String>,
    /// The row, or candidate, from 1 as in all messages; if it is about one.
    pub row: Option<u64>,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.field, self.row) {
            (Some(field), Some(row)) => write!(formatter, "field `{field}`, row {row}: ")?,
            (Some(field), None) => write!(formatter, "field `{field}`: ")?,
            (None, Some(row)) => write!(formatter, "row {row}: ")?,
            (None, None) => {}
        }
        write!(formatter, "found {}, expected {}", self.found, self.expected)
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Its contents are wrong.
    #[error("{0}")]
    BadRequest(Fault),
    /// It says not who asks, or nobody whom we know.
    #[error("{0}")]
    Unauthorized(String),
    /// Whoever asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such model, version or path.
    #[error("{0}")]
    NotFound(String),
    /// The path is there, but not for this method.
    #[error("{0}")]
    MethodNotAllowed(String),
    /// The body or the number of candidates is beyond a limit.
    #[error("{what}: more than {limit}, the most that is taken ({setting})")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// The setting that says so.
        setting: &'static str,
    },
    /// As many requests as may wait do.
    #[error("busy: {waiting} requests are waiting already; try again after a moment")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// Its time was over before its turn came.
    #[error("the request's time was over before it was answered")]
    DeadlinePassed,
    /// Its body did not arrive in time.
    #[error("the request's body did not arrive in {0:?}")]
    SlowBody(Duration),
    /// The server, or the model, serves nothing now.
    #[error("{0}")]
    NotReady(String),
    /// Something that other servers of this protocol have, and we do not.
    #[error("{0}")]
    Unsupported(String),
    /// A mistake of ours. What is inside goes into the log, not to the sender.
    #[error("an error of the server; its log tells more")]
    Internal(String),
}

/// A text that was found, in few words.
pub(crate) fn found_text(text: &str) -> String {
    match text.len() {
        41.. => format!("a text of {} bytes", text.len()),
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// When to try again where all are busy: scoring takes milliseconds, and this header
/// counts in seconds.
const RETRY: Duration = Duration::from_secs(1);

impl Failure {
    /// A fault of one field.
    pub fn field(field: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Failure {
        Failure::BadRequest(Fault {
            field: Some(field.into()),
            row: None,
            found: found.into(),
            expected: expected.into(),
        })
    }

    /// A fault of the whole request.
    pub fn request(found: impl Into<String>, expected: impl Into<String>) -> Failure {
        Failure::BadRequest(Fault { found: found.into(), expected: expected.into(), ..Fault::default() })
    }

    /// The status of an HTTP answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Failure::BadRequest(_) | Failure::Unsupported(_) => StatusCode::BAD_REQUEST,
            Failure::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Failure::Forbidden(_) => StatusCode::FORBIDDEN,
            Failure::NotFound(_) => StatusCode::NOT_FOUND,
            Failure::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Failure::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Failure::DeadlinePassed => StatusCode::GATEWAY_TIMEOUT,
            Failure::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Failure::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code of a gRPC answer.
    pub fn code(&self) -> Code {
        match self {
            Failure::BadRequest(_) | Failure::TooLarge { .. } => Code::InvalidArgument,
            Failure::Unauthorized(_) => Code::Unauthenticated,
            Failure::Forbidden(_) => Code::PermissionDenied,
            Failure::NotFound(_) => Code::NotFound,
            Failure::MethodNotAllowed(_) | Failure::Unsupported(_) => Code::Unimplemented,
            Failure::Busy { .. } => Code::ResourceExhausted,
            Failure::DeadlinePassed | Failure::SlowBody(_) => Code::DeadlineExceeded,
            Failure::NotReady(_) => Code::Unavailable,
            Failure::Internal(_) => Code::Internal,
        }
    }

    /// A word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::BadRequest(_) => "bad_request",
            Failure::Unauthorized(_) => "unauthorized",
            Failure::Forbidden(_) => "forbidden",
            Failure::NotFound(_) => "not_found",
            Failure::MethodNotAllowed(_) => "method_not_allowed",
            Failure::TooLarge { .. } => "too_large",
            Failure::Busy { .. } => "rejected",
            Failure::DeadlinePassed => "deadline",
            Failure::SlowBody(_) => "slow_body",
            Failure::NotReady(_) => "not_ready",
            Failure::Unsupported(_) => "unsupported",
            Failure::Internal(_) => "internal",
        }
    }

    /// Whether the server has failed, and not the request: also where it has more to do than it can.
    pub fn is_ours(&self) -> bool {
        matches!(self, Failure::Busy { .. }) || self.status().is_server_error()
    }

    /// When it makes sense to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Failure::Busy { .. } | Failure::NotReady(_)).then_some(RETRY)
    }
}

/// What the library says of a request's rows.
impl From<crosstie::Error> for Failure {
    fn from(error: crosstie::Error) -> Failure {
        match error {
            crosstie::Error::Cell { row, column, found, expected, .. } => {
                Failure::BadRequest(Fault { field: Some(column), row: Some(row), found, expected })
            }
            crosstie::Error::Unfit { message, .. } => Failure::request(message, "the columns that the model reads"),
            other => Failure::Internal(other.to_string()),
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        let mut status = Status::new(failure.code(), failure.to_string());
        if let Some(wait) = failure.retry_after() {
            status.metadata_mut().insert("retry-after", wait.as_secs().into());
        }
        status
    }
}

/// `{"error": "..."}`, as clients of the protocol expect of whatever is not 200.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if let Failure::Internal(inside) = &self {
            tracing::error!("a request failed: {inside}");
        }
        let body = axum::Json(serde_json::json!({ "error": self.to_string() }));
        let mut response = (self.status(), body).into_response();
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
        }
        response.extensions_mut().insert(self);
        response
    }
}
