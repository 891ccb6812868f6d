//! The interface of a running application, which `admin` serves: what is asked of it, and what to do where it does not answer.
//!
//! In: an address, perhaps a token. Out: texts. It only asks, follows no redirect, and never shows the token.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::Failure;
use crate::wording::plain;

/// Most bytes of an answer.
pub(super) const MOST: u64 = 64 << 20;

/// Where an application can be asked.
pub(super) struct Remote {
    /// Without a slash at the end.
    at: String,
    token: Option<String>,
    agent: Agent,
    patience: Duration,
}

#[derive(Deserialize)]
struct Listed {
    pool: String,
}

/// An error as RFC 9457 has it.
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
}

impl Remote {
    pub fn new(url: &str, token: Option<&str>, patience: Duration) -> Result<Self, Failure> {
        let usage = |why: &str| Failure::Usage(format!("--url {}: {why}", plain(without_secrets(url))));
        let uri: Uri = url.parse().map_err(|_| usage("that is no address, such as http://127.0.0.1:9321/admin"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(usage("it must begin with http:// or https://, as http://127.0.0.1:9321/admin does"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(usage("no user and no password belong there: give the token by LARDER_TOKEN or --token"));
        }
        if uri.query().is_some() {
            return Err(usage("without ? and what follows, please"));
        }
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::Usage("the token holds what no token can: spaces or characters beyond ASCII".into()));
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        let at = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        Ok(Self { at, token: token.map(str::to_owned), agent, patience })
    }

    /// The names of the pools there.
    pub async fn pools(&self) -> Result<Vec<String>, Failure> {
        let (status, text) = self.get("reports").await?;
        if status == StatusCode::NOT_FOUND {
            return Err(self.failed(&format!("there is no interface of Larder here: {ADDRESS}")));
        }
        let text = self.answered(status, text)?;
        let listed: Vec<Listed> = serde_json::from_str(&text)
            .map_err(|_| self.failed(&format!("what answers here is no interface of Larder: {ADDRESS}")))?;
        Ok(listed.into_iter().map(|listed| listed.pool).collect())
    }

    /// The report of a pool, as JSON.
    pub async fn report(&self, pool: &str) -> Result<String, Failure> {
        let (status, text) = self.get(&format!("reports/{}", encoded(pool))).await?;
        if status == StatusCode::NOT_FOUND {
            let names = named(&self.pools().await?);
            return Err(self.failed(&format!("there is no pool {pool:?} here; --pool may be: {names}")));
        }
        self.answered(status, text)
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, String), Failure> {
        let mut request = self.agent.get(format!("{}/v1/{path}", self.at));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let asked = tokio::task::spawn_blocking(move || {
            let mut response = request.call()?;
            let text = response.body_mut().with_config().limit(MOST).lossy_utf8(true).read_to_string()?;
            Ok((response.status(), text))
        });
        let answer = asked.await.map_err(|error| Failure::failed(error.to_string()))?;
        answer.map_err(|error| {
            self.failed(&match error {
                Error::Timeout(_) => {
                    format!("no answer within {}: --timeout sets for how long to wait", humantime::format_duration(self.patience))
                }
                Error::BodyExceedsLimit(_) => format!("more than {MOST} bytes: that is no report"),
                Error::HostNotFound => "there is no such host".to_owned(),
                Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    format!("nothing listens there ({error}): does the application run, and does it serve larder::admin there?")
                }
                Error::Io(error) => format!("it cannot be asked: {error}"),
                error => format!("it cannot be asked: {error}"),
            })
        })
    }

    fn answered(&self, status: StatusCode, text: String) -> Result<String, Failure> {
        if status == StatusCode::OK {
            return Ok(text);
        }
        let said = match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => {
                "it asks for a token: set LARDER_TOKEN to one that may read, or give --token".to_owned()
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                "it does not know this token: see Access::tokens of the application".to_owned()
            }
            _ if status.is_redirection() => format!("it answers {status}, to go elsewhere: {ADDRESS}"),
            _ => {
                let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
                format!("it answers {status} {}", problem.detail)
            }
        };
        Err(self.failed(said.trim()))
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::failed(plain(&format!("{}: {why}", self.at)))
    }
}

const ADDRESS: &str = "give the address of its page, such as http://127.0.0.1:9321/admin";

/// Names for people.
pub(super) fn named(pools: &[String]) -> String {
    match pools {
        [] => "(no pool is shown there)".into(),
        pools => pools.join(", "),
    }
}

/// An address that is refused may hold a password.
fn without_secrets(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

/// As one part of a path (RFC 3986).
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}
