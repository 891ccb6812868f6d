//! Who may do what, and from where.
//!
//! A request shows a token as `Authorization: Bearer`, or a browser the cookie that it got for one. Tokens are compared by their hashes,
//! in constant time. What a browser sends by itself proves nothing of what its user wants: an order with a cookie, or where no token is
//! asked for, has to come from the page itself, by its `Origin` and by a word that only the page was told. The host that is asked for has
//! to be one of ours, so that a foreign name that leads here gives a page of that name nothing (DNS rebinding).

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Form;
use axum::extract::{NestedPath, OriginalUri, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Shared;
use super::problem::Problem;

/// Who may see the page and ask the interface, and who may give orders.
pub struct Access(Kind);

enum Kind {
    /// The hashes of the tokens.
    Tokens { read: blake3::Hash, operate: blake3::Hash },
    /// Somebody else asks who it is.
    OwnLayer,
    /// Whoever reaches it.
    Open,
}

/// Who asks, by name. A layer of the application that asks who somebody is ([`Access::own_layer`]) puts it into the extensions of a
/// request; with an order, it goes into the log and the events.
#[derive(Debug, Clone)]
pub struct Operator(pub String);

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    Read,
    Operate,
}

impl Role {
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    fn of_a_token(self) -> String {
        format!("token: {}", self.label())
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub role: Role,
    /// As far as it is known, for the log and the events.
    pub who: String,
    /// What the page is told, and has to say with an order. `None`: a token was shown, which no browser does by itself.
    pub word: Option<String>,
    /// Whether he can log out.
    pub has_cookie: bool,
}

/// Names the cookie; what is in it is made from the token, and is none.
const COOKIE: &str = "larder_session";
/// Where the page says its word.
pub(super) const WORD: &str = "x-larder-word";

const AFTER_A_WRONG_TOKEN: Duration = Duration::from_millis(500);

/// Until this process ends.
static SECRET: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("the system has random bytes");
    secret
});

impl Access {
    /// Whoever has the first token may look, whoever has the second may give orders as well. They should be long and random.
    ///
    /// # Panics
    /// For a token of fewer than 16 bytes, which can be guessed, and for two that are the same.
    pub fn tokens(read: impl AsRef<str>, operate: impl AsRef<str>) -> Self {
        let hash = |token: &str| {
            let token = token.trim();
            assert!(token.len() >= 16, "a token of fewer than 16 bytes can be guessed");
            blake3::hash(token.as_bytes())
        };
        let (read, operate) = (hash(read.as_ref()), hash(operate.as_ref()));
        assert!(read != operate, "who may only look would have the token to give orders");
        Self(Kind::Tokens { read, operate })
    }

    /// The router stands behind a layer of the application that asks who somebody is: all who come through may do everything. It may tell
    /// their names by [`Operator`].
    pub fn own_layer() -> Self {
        Self(Kind::OwnLayer)
    }

    /// Whoever reaches it may do everything: for a developer's own machine. [`Admin::serve`](super::Admin::serve) refuses addresses that others
    /// reach.
    pub fn open() -> Self {
        Self(Kind::Open)
    }

    /// Whether the router itself asks nobody who he is.
    pub(super) fn asks_nobody(&self) -> bool {
        matches!(self.0, Kind::Open | Kind::OwnLayer)
    }

    fn of_token(&self, token: &str) -> Option<Role> {
        let Kind::Tokens { read, operate } = &self.0 else { return None };
        let shown = blake3::hash(token.as_bytes());
        // The comparison of hashes takes the same time wherever they differ.
        match (shown == *operate, shown == *read) {
            (true, _) => Some(Role::Operate),
            (false, true) => Some(Role::Read),
            (false, false) => None,
        }
    }

    /// What a browser keeps in place of the token: it holds across restarts, as the token does.
    fn session(hash: &blake3::Hash) -> blake3::Hash {
        blake3::Hash::from(blake3::derive_key("larder 2026 session of an admin page", hash.as_bytes()))
    }

    fn of_session(&self, session: &str) -> Option<Role> {
        let Kind::Tokens { read, operate } = &self.0 else { return None };
        let shown = blake3::Hash::from_hex(session).ok()?;
        match (shown == Self::session(operate), shown == Self::session(read)) {
            (true, _) => Some(Role::Operate),
            (false, true) => Some(Role::Read),
            (false, false) => None,
        }
    }

    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if let Kind::OwnLayer | Kind::Open = self.0 {
            return Some(Caller {
                role: Role::Operate,
                who: "no name".into(),
                word: Some(word(&SECRET)),
                has_cookie: false,
            });
        }
        let shown = headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
        let bearer =
            shown.and_then(|shown| shown.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        if let Some((_, token)) = bearer {
            let role = self.of_token(token.trim())?;
            return Some(Caller { role, who: role.of_a_token(), word: None, has_cookie: false });
        }
        let session = cookie(headers)?;
        let role = self.of_session(session)?;
        let word = word(blake3::hash(session.as_bytes()).as_bytes());
        Some(Caller { role, who: role.of_a_token(), word: Some(word), has_cookie: true })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Tokens { .. } => "Access::Tokens",
            Kind::OwnLayer => "Access::OwnLayer",
            Kind::Open => "Access::Open",
        })
    }
}

fn word(key: &[u8; 32]) -> String {
    blake3::keyed_hash(key, b"larder 2026 word of an admin page").to_hex()[..32].to_owned()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Where the router is mounted, as browsers see it.
pub(super) fn mount(request: &Request) -> String {
    request.extensions().get::<NestedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default()
}

/// Where the page is.
pub(super) fn home(mount: &str) -> &str {
    if mount.is_empty() { "/" } else { mount }
}

/// Stands before everything.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let mount = mount(&request);
    let path = request.uri().path().to_owned();
    let mut response = match admit(&shared, &request, &path) {
        Ok(caller) => {
            if let Some(mut caller) = caller {
                if let Some(Operator(name)) = request.extensions().get() {
                    caller.who = format!("by {name}");
                }
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        // A person is asked for the token, a program is told.
        Err(problem) if path == "/" && problem.1 => {
            drop(problem);
            Redirect::to(&format!("{mount}/login")).into_response()
        }
        Err(problem) => problem.0.into_response(),
    };
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Without a referrer at all, forms would not say where they come from.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Who asks, or why he is not answered, and whether a token would help.
fn admit(shared: &Shared, request: &Request, path: &str) -> Result<Option<Caller>, (Problem, bool)> {
    let headers = request.headers();
    let refuse = |status, why: &str| Err((Problem::new(status, why), false));
    let Some(host) = host(request) else { return refuse(StatusCode::BAD_REQUEST, "the request names no host") };
    if !is_ours(&host, &shared.hosts) {
        let why = format!("{host} is not a host name of this page: allow it by Admin::host");
        return Err((Problem::new(StatusCode::MISDIRECTED_REQUEST, why), false));
    }
    let only_looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Another page may lead here, but have nothing sent from here to itself.
    if only_looks && says("sec-fetch-site") == Some("cross-site") && says("sec-fetch-dest") != Some("document") {
        return refuse(StatusCode::FORBIDDEN, "this came from another page");
    }
    if matches!(path, "/login" | "/assets/page.css" | "/assets/page.js") || path.starts_with("/v1/health/") {
        let is_foreign = !only_looks && !comes_from(headers, &host);
        return if is_foreign { refuse(StatusCode::FORBIDDEN, "this came from another page") } else { Ok(None) };
    }
    let Some(caller) = shared.access.caller(headers) else {
        let why = "show a token, as Authorization: Bearer, or log in on the page";
        return Err((Problem::new(StatusCode::UNAUTHORIZED, why), true));
    };
    if only_looks {
        return Ok(Some(caller));
    }
    // A browser says which page something comes from; what says nothing of that is none, and does nothing unasked.
    let is_browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    let is_ours = comes_from(headers, &host);
    let proved = match &caller.word {
        None => !is_browser || is_ours,
        Some(_) if !is_browser && shared.access.asks_nobody() => true,
        Some(word) => is_ours && says(WORD).is_some_and(|said| is_same(said, word)),
    };
    if !proved {
        tracing::warn!(target: "larder::admin", path, role = caller.role.label(), "an order was refused that did not come from the page");
        return refuse(StatusCode::FORBIDDEN, "this did not come from the page itself; if it did, load the page again");
    }
    // To ask what would be is not to order it.
    if caller.role < Role::Operate && path != "/v1/explain-cache" && path != "/logout" {
        tracing::warn!(target: "larder::admin", path, "an order was refused: the token may look alone");
        return refuse(StatusCode::FORBIDDEN, "this token may look, but give no orders");
    }
    Ok(Some(caller))
}

/// In a time that does not depend on where they differ.
fn is_same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

fn host(request: &Request) -> Option<String> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    named.map(str::to_ascii_lowercase)
}

/// Whether the browser says that one of our pages sent this.
fn comes_from(headers: &HeaderMap, host: &str) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.and_then(|origin| origin.split_once("://")).is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

/// Plain addresses cannot be made to lead elsewhere, and names of this machine lead to it alone.
fn is_ours(host: &str, allowed: &[String]) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = without_port.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse::<IpAddr>().is_ok();
    let is_local = bare == "localhost" || bare.ends_with(".localhost");
    is_address || is_local || allowed.iter().any(|known| known == host || known == without_port)
}

#[derive(Deserialize)]
pub(super) struct Login {
    token: String,
}

/// Gives a browser a cookie for a token.
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(Login { token }): Form<Login>,
) -> Response {
    let mount = uri.path().trim_end_matches("/login").to_owned();
    let Some(role) = shared.access.of_token(token.trim()) else {
        tracing::warn!(target: "larder::admin", "somebody tried to log in with a token that is none");
        // So that many cannot be tried.
        tokio::time::sleep(AFTER_A_WRONG_TOKEN).await;
        return Redirect::to(&format!("{mount}/login?wrong")).into_response();
    };
    tracing::info!(target: "larder::admin", role = role.label(), "somebody logged in");
    let session = Access::session(&blake3::hash(token.trim().as_bytes()));
    let is_https = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https:"));
    with_cookie(&mount, &session.to_hex(), if is_https { "Max-Age=604800; Secure" } else { "Max-Age=604800" })
}

/// Takes it away.
pub(super) async fn log_out(OriginalUri(uri): OriginalUri) -> Response {
    with_cookie(uri.path().trim_end_matches("/logout"), "", "Max-Age=0")
}

fn with_cookie(mount: &str, value: &str, age: &str) -> Response {
    let path = home(mount);
    let cookie = format!("{COOKIE}={value}; Path={path}; HttpOnly; SameSite=Strict; {age}");
    let mut response = Redirect::to(home(mount)).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_are_not_ours() {
        let allowed = ["shop.internal".to_owned(), "other.internal:8080".to_owned()];
        for host in [
            "localhost",
            "localhost:9321",
            "127.0.0.1:9321",
            "[::1]:9321",
            "10.0.0.7",
            "shop.internal:80",
            "other.internal:8080",
        ] {
            assert!(is_ours(host, &allowed), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9321",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "other.internal",
            "",
        ] {
            assert!(!is_ours(host, &allowed), "{host}");
        }
    }

    #[test]
    fn a_session_is_no_token_and_a_token_no_session() {
        let access = Access::tokens("to-look-at-it-all", "to-order-whatever");
        assert_eq!(access.of_token("to-look-at-it-all"), Some(Role::Read));
        assert_eq!(access.of_token("to-order-whatever"), Some(Role::Operate));
        assert_eq!(access.of_token("to-order-whateve"), None);
        let session = Access::session(&blake3::hash(b"to-order-whatever")).to_hex();
        assert_eq!(access.of_session(&session), Some(Role::Operate));
        assert_eq!((access.of_token(&session), access.of_session("to-order-whatever")), (None, None));
        assert_eq!(format!("{access:?}"), "Access::Tokens");
    }

    #[test]
    #[should_panic(expected = "can be guessed")]
    fn a_short_token_is_none() {
        let _ = Access::tokens("short", "to-order-whatever");
    }
}
