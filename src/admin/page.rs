//! The page: its frame, its style, its script.

use std::sync::Arc;

use axum::extract::{Extension, OriginalUri, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::Shared;
use super::access::{Caller, Role, home};
use super::api::Which;
use super::problem::{Problem, Query};
use super::sections;

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page.css"))
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("page.js"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

fn frame(mount: &str, title: &str, script: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(format!("{mount}/assets/page.css"));
                @if script {
                    script src=(format!("{mount}/assets/page.js")) defer {}
                }
            }
            body { (body) }
        }
    }
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    OriginalUri(uri): OriginalUri,
    Query(which): Query<Which>,
) -> Result<Markup, Problem> {
    let mount = uri.path().trim_end_matches('/');
    let found = shared.pool(which.pool.as_deref());
    let (name, pool) = found.ok_or_else(|| Problem::unknown("pool", which.pool.as_deref().unwrap_or("(none)")))?;
    let sections = shared.sections(name, pool, mount, caller.role).await;
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.brand {
                span.mark aria-hidden="true" {}
                h1 { "Larder" }
                span.pool-name { (name) " · " (pool.backend()) }
            }
            nav aria-label="Pools" {
                @if shared.pools.len() > 1 {
                    @for (other, _) in &shared.pools {
                        a href=(format!("{}?pool={}", home(mount), encoded(other))) aria-current=[(other == name).then_some("page")] { (other) }
                    }
                }
                a href=(format!("{mount}/v1/reports/{}?format=html", encoded(name))) { "Report" }
                a href=(format!("{mount}/v1/history?format=csv&pool={}", encoded(name))) { "History" }
            }
            @if caller.has_cookie {
                form data-log-out { button type="submit" { "Log out" } }
            }
            p #heard.heard role="status" aria-live="polite" { span.dot {} " " span #heard-text { "connecting" } }
        }
        // Wherever the page is scrolled to.
        div.banners {
            p #old.banner.bad role="alert" hidden { "These figures are old: nothing is heard from the server. " span #old-text aria-hidden="true" {} }
            div #told.banner hidden {
                p #told-text role="status" aria-live="polite" {}
                button #told-close type="button" { "Close" }
            }
        }
        main #main data-mount=(mount) data-pool=(name) data-word=[caller.word.as_deref()] data-role=(caller.role.label()) {
            @for section in sections.iter() {
                section id=(section.id) class="card" aria-labelledby=(format!("{}-title", section.id)) { (section.html) }
            }
            @if caller.role == Role::Operate {
                section #orders.card aria-labelledby="orders-title" { (sections::orders(name)) }
            }
        }
        footer {
            p { "Larder " (env!("CARGO_PKG_VERSION")) ". No value that was bound is shown here." }
        }
    };
    Ok(frame(mount, &format!("Larder: {name}"), true, &body))
}

/// For a link.
pub(super) fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(super) async fn login(OriginalUri(uri): OriginalUri) -> Markup {
    let mount = uri.path().trim_end_matches("/login");
    let body = html! {
        main.login {
            form.card method="post" action=(format!("{mount}/login")) {
                div.brand { span.mark aria-hidden="true" {} h1 { "Larder" } }
                @if uri.query() == Some("wrong") {
                    p.banner.bad role="alert" { "That is not one of the tokens." }
                }
                label for="token" { "Token" }
                input #token name="token" type="password" autocomplete="current-password" required autofocus;
                button.primary type="submit" { "Log in" }
                p.quiet { "The token to look, or the one to give orders as well." }
            }
        }
    };
    frame(mount, "Larder: log in", false, &body)
}
