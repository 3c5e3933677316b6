//! API keys: who may score and look, and who may change what is served. One layer
//! for HTTP and gRPC.
//!
//! A list holds one key per line, `name right key`; what follows a `#` at the start
//! of a line is a remark. Keys are compared in constant time, and neither logged nor
//! shown by `Debug`.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use crosstie::spelling;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tonic::Status;

use super::EdgeError;
use crate::failure::Failure;

/// Where keys may stand beside, or without, a file.
pub const VARIABLE: &str = "CROSSTIE_KEYS";

/// Fewer characters can be guessed.
const SHORTEST: usize = 16;

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To score, to send feedback, and to read what is served.
    Read,
    /// Also to change what is served: models and experiments.
    Admin,
}

/// All keys of a server. None: everybody may do everything.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<[Key]>);

#[derive(Clone)]
struct Key {
    name: Arc<str>,
    right: Right,
    secret: Arc<[u8]>,
    /// Where it stands in its list, from 1.
    line: usize,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?} (key not shown)", self.name, self.right)
    }
}

/// The name of the key that a request came with, among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Arc<str>);

impl Keys {
    /// The keys of a file, if there is one, and of the environment ([`VARIABLE`]), whose text
    /// is given, if it is set.
    ///
    /// # Errors
    ///
    /// [`EdgeError::Read`], [`EdgeError::Key`], and [`EdgeError::NoKeys`] where there is a list
    /// without a key: who has one does not want a server that is open to all.
    pub fn of(file: Option<&Path>, variable: Option<OsString>) -> Result<Keys, EdgeError> {
        let no_keys = |place: String, found| Err(EdgeError::NoKeys { place, found });
        let listed = match file {
            None => Keys::default(),
            Some(path) => Keys::read(path)?,
        };
        if let Some(path) = file.filter(|_| listed.is_empty()) {
            return no_keys(format!("`{}`", path.display()), "no key in it");
        }
        let Some(text) = variable else { return Ok(listed) };
        let Ok(text) = text.into_string() else { return no_keys(VARIABLE.to_string(), "bytes that are no UTF-8") };
        let others = Keys::parse(&text, VARIABLE)?;
        if others.is_empty() {
            return no_keys(VARIABLE.to_string(), "no key in it");
        }
        match others.0.iter().find(|other| listed.0.iter().any(|key| key.name == other.name)) {
            None => Ok(Keys(listed.0.iter().chain(others.0.iter()).cloned().collect())),
            Some(key) => Err(EdgeError::Key {
                place: VARIABLE.to_string(),
                line: key.line,
                found: format!("the name `{}`, which the file has, too", key.name),
                expected: "a name of its own for every key",
            }),
        }
    }

    /// Reads a file of keys.
    ///
    /// # Errors
    ///
    /// [`EdgeError::Read`], and those of [`Keys::parse`].
    pub fn read(path: &Path) -> Result<Keys, EdgeError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| EdgeError::Read { path: path.to_path_buf(), source })?;
        Keys::parse(&text, &format!("`{}`", path.display()))
    }

    /// Reads a list of keys; `place` is where it is from, for errors.
    ///
    /// # Errors
    ///
    /// [`EdgeError::Key`] for a line that is none, a name or a key that was there
    /// before, and a key of fewer than 16 characters.
    pub fn parse(text: &str, place: &str) -> Result<Keys, EdgeError> {
        let mut keys: Vec<Key> = Vec::new();
        for (line, words) in text.lines().enumerate() {
            let wrong = |found: String, expected| {
                Err(EdgeError::Key { place: place.to_string(), line: line + 1, found, expected })
            };
            let words: Vec<&str> = words.split_whitespace().collect();
            // A remark first: a key that somebody has put behind a `#` has three words, too.
            if words.first().is_none_or(|first| first.starts_with('#')) {
                continue;
            }
            let [name, right, secret] = words[..] else {
                return wrong(format!("{} words", words.len()), "three: `name right key`");
            };
            let right = match right {
                "read" => Right::Read,
                "admin" => Right::Admin,
                // Not shown, unless it is a slip of the pen: it may be the key.
                other => {
                    let meant = spelling::nearest(other, ["read", "admin"]);
                    let found = meant.map(|meant| format!("the second word is `{other}`; did you mean `{meant}`?"));
                    let found = found.unwrap_or_else(|| "the second word is no right".to_string());
                    return wrong(found, "`read` or `admin`");
                }
            };
            if secret.len() < SHORTEST {
                return wrong(format!("a key of {} characters", secret.len()), "16 or more");
            }
            if keys.iter().any(|key| *key.name == *name) {
                return wrong(format!("the name `{name}` for a second time"), "a name of its own for every key");
            }
            if let Some(other) = keys.iter().find(|key| *key.secret == *secret.as_bytes()) {
                return wrong(format!("the key of `{}` once more", other.name), "a key of its own for every name");
            }
            keys.push(Key { name: name.into(), right, secret: secret.as_bytes().into(), line: line + 1 });
        }
        Ok(Keys(keys.into()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that was shown. All are looked at, whichever it is; the time that this
    /// takes tells no more than lengths.
    fn find(&self, shown: &[u8]) -> Option<&Key> {
        let mut found = u64::MAX;
        for (at, key) in (0_u64..).zip(self.0.iter()) {
            found = u64::conditional_select(&found, &at, key.secret.ct_eq(shown));
        }
        usize::try_from(found).ok().and_then(|at| self.0.get(at))
    }

    /// `router`, behind these keys.
    pub fn guard(self, router: Router) -> Router {
        if self.is_empty() { router } else { router.layer(middleware::from_fn_with_state(self, check)) }
    }
}

/// Lets a request pass, or answers it.
async fn check(State(keys): State<Keys>, mut request: Request, next: Next) -> Response {
    let Some(needed) = needed(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let key = shown(request.headers()).map(|shown| keys.find(shown));
    let refusal = match key {
        None => Failure::Unauthorized("no key; expected `authorization: Bearer KEY` or `x-api-key: KEY`".into()),
        Some(None) => Failure::Unauthorized("not a key of this server".into()),
        Some(Some(key)) if key.right < needed => {
            Failure::Forbidden(format!("the key `{}` may read; this takes one with the right `admin`", key.name))
        }
        Some(Some(key)) => {
            let caller = Caller(key.name.clone());
            request.extensions_mut().insert(caller);
            return next.run(request).await;
        }
    };
    if is_grpc(request.headers()) {
        return Status::from(refusal).into_http::<Body>();
    }
    let unknown = matches!(refusal, Failure::Unauthorized(_));
    let mut answer = refusal.into_response();
    if unknown {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// The key that a request shows.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get("x-api-key").map(HeaderValue::as_bytes))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The right that a request takes; none for asking whether the server is there. What
/// is not known to leave things as they are takes the right to change them.
fn needed(method: &Method, path: &str) -> Option<Right> {
    if let Some((service, call)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        && service.contains('.')
    {
        return match (service, call) {
            ("grpc.health.v1.Health", _) => None,
            ("inference.GRPCInferenceService", "ServerLive" | "ServerReady") => None,
            ("inference.GRPCInferenceService", "RepositoryModelLoad" | "RepositoryModelUnload") => Some(Right::Admin),
            _ => Some(Right::Read),
        };
    }
    let reads = match path {
        "/v2/health/live" | "/v2/health/ready" => return None,
        "/v1/rank" | "/v1/feedback" | "/v2/repository/index" => true,
        _ => path.starts_with("/v2/models/") && path.ends_with("/infer"),
    };
    Some(if reads || matches!(*method, Method::GET | Method::HEAD) { Right::Read } else { Right::Admin })
}

#[cfg(test)]
mod tests {
    use axum::routing::any;
    use tower::ServiceExt;

    use super::*;

    const LIST: &str = "# who may do what\nranking read 0123456789abcdef\n\nrollout admin fedcba9876543210\n";

    async fn answer(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let router = Router::new().fallback(any(|request: Request| async move {
            let caller = request.extensions().get::<Caller>();
            caller.map_or_else(String::new, |caller| caller.0.to_string())
        }));
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let router = Keys::parse(LIST, "here").unwrap().guard(router);
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn body(answer: Response) -> String {
        String::from_utf8(axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_key_opens_what_its_right_says_and_nothing_else() {
        const READ: &[(&str, &str)] = &[("authorization", "Bearer 0123456789abcdef")];
        const ADMIN: &[(&str, &str)] = &[("x-api-key", "fedcba9876543210")];
        const WRONG: &[(&str, &str)] = &[("x-api-key", "0123456789abcdeF")];
        let cases: &[(&str, &str, [u16; 4])] = &[
            // With no key, a wrong one, one to read, one to change.
            ("GET", "/v2/health/live", [200, 200, 200, 200]),
            ("GET", "/v2/health/ready", [200, 200, 200, 200]),
            ("GET", "/v2/models/m/ready", [401, 401, 200, 200]),
            ("POST", "/v2/models/m/versions/3/infer", [401, 401, 200, 200]),
            ("POST", "/v2/repository/index", [401, 401, 200, 200]),
            ("POST", "/v1/rank", [401, 401, 200, 200]),
            ("POST", "/v1/feedback", [401, 401, 200, 200]),
            ("GET", "/v1/experiments/e", [401, 401, 200, 200]),
            ("POST", "/v1/experiments/e/advance", [401, 401, 403, 200]),
            ("POST", "/v2/repository/models/m/load", [401, 401, 403, 200]),
            ("POST", "/v2/repository/models/m/unload", [401, 401, 403, 200]),
            ("POST", "/anything/new", [401, 401, 403, 200]),
        ];
        for (method, path, expected) in cases {
            for (headers, expected) in [&[], WRONG, READ, ADMIN].into_iter().zip(expected) {
                let found = answer(method, path, headers).await.status();
                assert_eq!(found.as_u16(), *expected, "{method} {path} {headers:?}");
            }
        }
        assert_eq!(body(answer("GET", "/v2", READ).await).await, "ranking");
        let refused = answer("GET", "/v2", &[]).await;
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Bearer");
        assert!(body(refused).await.starts_with(r#"{"error":"no key; expected"#));
    }

    #[tokio::test]
    async fn grpc_is_refused_in_its_own_way() {
        let cases: &[(&str, [Option<&str>; 3])] = &[
            // With no key, one to read, one to change. 16: unauthenticated, 7: permission denied.
            ("/grpc.health.v1.Health/Check", [None, None, None]),
            ("/inference.GRPCInferenceService/ServerReady", [None, None, None]),
            ("/inference.GRPCInferenceService/ModelInfer", [Some("16"), None, None]),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", [Some("16"), None, None]),
            ("/inference.GRPCInferenceService/RepositoryModelUnload", [Some("16"), Some("7"), None]),
        ];
        for (path, expected) in cases {
            for (key, expected) in ["", "0123456789abcdef", "fedcba9876543210"].into_iter().zip(expected) {
                let headers = [("content-type", "application/grpc"), ("x-api-key", key)];
                let answer = answer("POST", path, if key.is_empty() { &headers[..1] } else { &headers }).await;
                assert_eq!(answer.status(), 200);
                let found = answer.headers().get("grpc-status").map(|value| value.to_str().unwrap());
                assert_eq!(found, *expected, "{path} {key}");
            }
        }
    }

    #[test]
    fn a_wrong_list_is_told_by_line_and_never_with_a_key() {
        let cases = [
            ("ranking 0123456789abcdef", "here, line 1: 2 words; expected three: `name right key`"),
            ("a read 0123456789abcdef\nb 0123456789abcdeg read", "here, line 2: the second word is no right"),
            ("a raed 0123456789abcdef", "the second word is `raed`; did you mean `read`?; expected `read` or `admin`"),
            ("a read short", "here, line 1: a key of 5 characters; expected 16 or more"),
            ("a read 0123456789abcdef\na read 0123456789abcdeg", "the name `a` for a second time"),
            ("a read 0123456789abcdef\nb read 0123456789abcdef", "the key of `a` once more"),
        ];
        for (list, expected) in cases {
            let error = Keys::parse(list, "here").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("0123456789"), "{error}");
        }
    }

    #[test]
    fn a_key_behind_a_hash_still_opened_the_server() {
        let list = "#leaver admin 0123456789abcdef\n# my remark\n  # one of three\nranking read fedcba9876543210\n";
        let keys = Keys::parse(list, "here").unwrap();
        assert_eq!(keys.0.len(), 1);
        assert!(keys.find(b"0123456789abcdef").is_none());
    }

    #[test]
    fn a_list_without_a_key_left_the_server_open() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys");
        let refused = |file: Option<&Path>, variable: Option<&[u8]>| {
            use std::os::unix::ffi::OsStringExt;
            Keys::of(file, variable.map(|text| OsString::from_vec(text.to_vec()))).unwrap_err().to_string()
        };
        std::fs::write(&file, "# none yet\n").unwrap();
        assert!(refused(Some(&file), None).contains("keys`: no key in it; expected"), "{}", refused(Some(&file), None));
        for (text, found) in [(&b""[..], "no key in it"), (b"\xff\xfe", "bytes that are no UTF-8")] {
            assert!(refused(None, Some(text)).starts_with(&format!("CROSSTIE_KEYS: {found}")), "{found}");
        }
        std::fs::write(&file, LIST).unwrap();
        let twice = refused(Some(&file), Some(b"# of the cluster\n\nranking read 0123456789abcdeg"));
        assert!(twice.contains("CROSSTIE_KEYS, line 3: the name `ranking`"), "{twice}");
        assert!(Keys::of(None, None).unwrap().is_empty());
    }

    #[test]
    fn what_is_shown_of_keys_holds_no_key() {
        let keys = Keys::parse(LIST, "here").unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("rollout") && !shown.contains("fedcba") && !shown.contains("102, 101"), "{shown}");
    }
}
