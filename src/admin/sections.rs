//! The sections of the page, each from what the pool shows now. All text of others is escaped by being text.

use std::time::{Duration, SystemTime};

use maud::{Markup, PreEscaped, html};

use super::access::Role;
use super::operated::Operated;
use super::page::encoded;
use crate::chart::{self, Hue, Line};
use crate::report::html::points;
use crate::wording::{grouped as count, shortened};
use crate::{BreakerState, BreakerStatus, EventKind, FeedStatus, QueryStats, Sample, Stats};

/// A part of the page that is renewed as a whole.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub id: &'static str,
    pub html: PreEscaped<String>,
}

/// Statements that are shown.
const TOP: usize = 12;
/// Letters of a statement in a row.
const IN_A_ROW: usize = 160;
/// Events that are shown.
const EVENTS: usize = 40;
/// Seconds that charts show.
const SHOWN: usize = 300;
/// What costs more to tell is told again after so many looks.
const SELDOM: u64 = 5;

/// Where they are shown, of which pool, to whom.
pub(super) struct Place {
    pub mount: String,
    pub pool: String,
    pub role: Role,
}

/// All of them, in order. What costs much to tell is taken from `before` at most looks.
pub(super) fn all(place: &Place, pool: &dyn Operated, look: u64, before: Option<&[Section]>) -> Vec<Section> {
    let (stats, breakers, feeds, history) = (pool.stats(), pool.breakers(), pool.feeds(), pool.history());
    let recent = &history.seconds[history.seconds.len().saturating_sub(SHOWN)..];
    let kept = before.filter(|_| !look.is_multiple_of(SELDOM));
    let kept = kept.and_then(|before| before.iter().find(|section| section.id == "queries"));
    vec![
        Section { id: "health", html: health(pool, &stats, &breakers, &feeds) },
        Section { id: "breakers", html: guards(place, &breakers) },
        Section { id: "cache", html: cache(&stats, recent) },
        Section { id: "pool", html: connections(pool, recent) },
        Section { id: "latency", html: latency(recent) },
        Section { id: "invalidation", html: invalidation(&stats, &feeds) },
        kept.cloned().unwrap_or_else(|| Section { id: "queries", html: queries(place, &pool.queries()) }),
        Section { id: "events", html: events(pool) },
    ]
}

fn health(pool: &dyn Operated, stats: &Stats, breakers: &[BreakerStatus], feeds: &[FeedStatus]) -> Markup {
    let database = breakers.iter().find(|status| status.backend == "database");
    let redis = breakers.iter().find(|status| status.backend == "redis");
    let (off, emergencies) = (pool.off(), pool.emergencies());
    let connections = pool.connections();
    html! {
        h2 #health-title.hidden { "Health" }
        ul.strip {
            @if let Some(status) = database { (light("Database", mood(status.state), &said(status.state))) }
            @if let Some(status) = redis { (light("Redis", mood(status.state), &said(status.state))) }
            @if connections.is_closed { (light("Pool", "bad", "closed")) }
            @match &off {
                Some(refusal) => (light("Cache", "bad", &format!("off: {}", refusal.sentence))),
                None => (light("Cache", "good", "on")),
            }
            @if connections.waiting > 0 {
                (light("Connections", "warn", &format!("{} wait", connections.waiting)))
            } @else {
                (light("Connections", "good", &format!("{} of {} in use", connections.used, connections.most)))
            }
            @for feed in feeds {
                @let late = if feed.is_current { "" } else { "late: " };
                @let age = feed.age.map_or("nothing heard yet".into(), |age| format!("{late}heard {} ago", short(age)));
                (light(&format!("Feed {}", feed.feed), if feed.is_current { "good" } else { "bad" }, &age))
            }
            @if emergencies.is_empty() {
                (light("Emergency", "good", "none"))
            } @else {
                @for pressure in &emergencies { (light("Emergency", "bad", &format!("short of {pressure}"))) }
            }
            @if stats.audited_stale > 0 {
                (light("Audit", "bad", &format!("{} of {} answers stale", stats.audited_stale, stats.audited)))
            } @else if stats.audited > 0 {
                (light("Audit", "good", &format!("{} answers, none stale", stats.audited)))
            } @else {
                (light("Audit", "quiet", "N/A"))
            }
        }
    }
}

fn light(what: &str, mood: &str, text: &str) -> Markup {
    html! { li class=(mood) { span.dot aria-hidden="true" {} span.what { (what) } span.text { (text) } } }
}

fn mood(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "good",
        BreakerState::HalfOpen | BreakerState::ForcedClosed | BreakerState::Disabled => "warn",
        BreakerState::Open | BreakerState::ForcedOpen => "bad",
    }
}

fn said(state: BreakerState) -> String {
    match state {
        BreakerState::Closed => "closed, well".into(),
        state => state.label().replace('_', " "),
    }
}

fn guards(place: &Place, breakers: &[BreakerStatus]) -> Markup {
    html! {
        h2 #breakers-title { "Breakers" }
        div.breakers {
            @for status in breakers { (guard(place, status)) }
        }
    }
}

fn guard(place: &Place, status: &BreakerStatus) -> Markup {
    let full = status.window_calls.unwrap_or(status.minimum_calls).max(1);
    let fill = match status.window_calls {
        Some(full) => format!("{} of {full} calls", status.calls),
        None => format!("{} calls, judged from {} on", status.calls, status.minimum_calls),
    };
    html! {
        article class={ "breaker " (mood(status.state)) } data-backend=(status.backend) data-state=(status.state.label()) {
            h3 { (status.backend) " " span.state { (said(status.state)) } }
            dl {
                dt { "since" } dd { (clock(status.since)) }
                @if let Some(began) = &status.trouble { dt { "in trouble since" } dd { (clock(began.at)) } }
                dt { "failures" } dd { (rate(status.failure_rate, status.failure_threshold)) }
                @if let Some(threshold) = status.slow_threshold {
                    dt { "slow" } dd { (rate(status.slow_rate, threshold)) }
                }
                dt { "window" } dd { (fill) progress max="1" value=(format!("{:.2}", (f64::from(status.calls) / f64::from(full)).min(1.0))) aria-label="window fill" {} }
                dt { "rejected" } dd { (count(status.rejected)) }
                @if let Some(pause) = status.next_probe {
                    dt { "next probe" } dd { "in " (short(pause.as_secs_f64())) }
                }
                @if let Some(forced) = &status.forced {
                    dt { "by hand" } dd { (forced.reason) @if let Some(left) = forced.left { ", for " (short(left.as_secs_f64())) } }
                }
            }
            (timeline(status))
            @if place.role == Role::Operate {
                form.force data-order=(format!("breakers/{}/{}", encoded(&place.pool), status.backend)) {
                    label { span { "Reason" } input name="reason" maxlength="200" placeholder="why"; }
                    label { span { "Minutes" } input name="minutes" type="number" min="1" max="10080" placeholder="until released"; }
                    // A browser presses the first button for whoever presses Enter in a field: this one does nothing.
                    button type="submit" disabled hidden {}
                    // Always the same ones in the same order, so that none turns into another under somebody's finger.
                    div.buttons {
                        button type="submit" name="order" value="force_open"
                            data-sure=(format!("All calls to {} will be rejected.", backend(status))) { "Force open" }
                        button type="submit" name="order" value="force_closed" { "Force closed" }
                        button type="submit" name="order" value="disable"
                            data-sure=(format!("Nothing will protect {} while it is in trouble.", backend(status))) { "Disable" }
                        button type="submit" name="order" value="release" disabled[status.forced.is_none()] { "Release" }
                    }
                }
            }
        }
    }
}

/// What it stands before, in a sentence.
fn backend(status: &BreakerStatus) -> &'static str {
    if status.backend == "redis" { "Redis" } else { "the database" }
}

/// The last transitions, the newest first, and how the trouble began.
fn timeline(status: &BreakerStatus) -> Markup {
    let last: Vec<_> = status.transitions.iter().rev().take(6).collect();
    let began = status.trouble.as_ref().filter(|began| !last.contains(began));
    html! {
        @if last.is_empty() {
            p.quiet { "It has not turned yet." }
        } @else {
            ol.timeline {
                @for turn in last.into_iter().chain(began) {
                    li class=(mood(turn.to)) {
                        (clock(turn.at)) " " b { (said(turn.to)) } " " span.quiet { (turn.cause) }
                    }
                }
            }
        }
    }
}

fn rate(rate: Option<f64>, threshold: f64) -> Markup {
    match rate {
        Some(rate) => html! {
            (percent(rate)) span.quiet { " of " (percent(threshold)) } (meter(rate / threshold.max(f64::MIN_POSITIVE), "of the threshold"))
        },
        None => html! { span.na title="fewer calls than it judges by" { "N/A" } },
    }
}

fn meter(share: f64, what: &str) -> Markup {
    html! { meter min="0" max="1" low="0.5" high="0.9" optimum="0" value=(format!("{:.2}", share.clamp(0.0, 1.0))) aria-label=(what) {} }
}

fn figure(svg: String) -> Markup {
    html! { figure { (PreEscaped(svg)) } }
}

fn big(what: &str, id: &str, value: &str) -> Markup {
    html! { div.big { span.value id=(id) { (value) } span.what { (what) } } }
}

fn cache(stats: &Stats, recent: &[Sample]) -> Markup {
    let line = |label, hue, value: fn(&Sample) -> u64| Line {
        label,
        hue,
        points: points(recent, |sample| Some(sample.per_second(value(sample)))),
    };
    let lines = [
        line("from the cache", Hue::Cache, |sample| sample.hits + sample.coalesced),
        line("misses", Hue::Database, |sample| sample.misses),
        line("not cached", Hue::Quiet, |sample| sample.bypasses),
        line("stale", Hue::Trouble, |sample| sample.stale),
    ];
    let mut reasons: Vec<_> = [
        ("not cached", &stats.bypasses_by_reason),
        ("miss", &stats.misses_by_reason),
        ("not stored", &stats.not_stored_by_reason),
    ]
    .into_iter()
    .flat_map(|(what, reasons)| reasons.iter().map(move |(reason, count)| (what, reason.label(), *count)))
    .collect();
    reasons.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
    html! {
        h2 #cache-title { "Cache" }
        div.bigs {
            (big("of reads from the cache", "hit-rate", &stats.hit_rate().map_or("N/A".into(), percent)))
            (big("hits", "hits", &count(stats.hits)))
            (big("misses", "misses", &count(stats.misses)))
            (big("not cached", "bypasses", &count(stats.bypasses)))
            (big("stale", "stale", &count(stats.stale)))
            (big("database time saved", "saved", &short(stats.saved_time.as_secs_f64())))
        }
        (figure(chart::lines("Reads a second", &lines, |value| format!("{}/s", human(value)))))
        (legend(&lines))
        p.quiet { (count(stats.entries)) " results in " (bytes(stats.bytes)) " of memory" }
        @if !reasons.is_empty() {
            details open { summary { "Why reads went to the database" }
                table { thead { tr { th { "what" } th { "reason" } th.number { "times" } } }
                    tbody { @for (what, reason, times) in reasons.iter().take(10) {
                        tr { td { (what) } td { code { (reason) } } td.number { (count(*times)) } }
                    } }
                }
            }
        }
    }
}

fn legend(lines: &[Line]) -> Markup {
    html! {
        ul.legend aria-hidden="true" { @for line in lines { li class=(format!("hue-{}", line.hue.label())) { span.swatch {} (line.label) } } }
    }
}

fn connections(pool: &dyn Operated, recent: &[Sample]) -> Markup {
    let now = pool.connections();
    let lines = [
        Line { label: "in use", hue: Hue::Database, points: points(recent, |sample| Some(sample.used.into())) },
        Line { label: "waiting", hue: Hue::Trouble, points: points(recent, |sample| Some(sample.waiting.into())) },
    ];
    html! {
        h2 #pool-title { "Pool" }
        div.bigs {
            (big("in use", "used", &now.used.to_string()))
            (big("idle", "idle", &now.idle.to_string()))
            (big("at most", "most", &now.most.to_string()))
            (big("waiting", "waiting", &now.waiting.to_string()))
        }
        (figure(chart::lines("Connections", &lines, |value| format!("{value:.0}"))))
        (legend(&lines))
    }
}

fn latency(recent: &[Sample]) -> Markup {
    let last = |of: fn(&Sample) -> Option<(Duration, Duration)>| {
        recent
            .iter()
            .rev()
            // What was longer ago says nothing of now.
            .take(10)
            .find_map(of)
            .map_or(("N/A".into(), "N/A".into()), |(p50, p99)| (short(p50.as_secs_f64()), short(p99.as_secs_f64())))
    };
    let (hit, database) = (last(|sample| sample.hit_latency), last(|sample| sample.database_latency));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let lines = [
        Line {
            label: "hit, p99",
            hue: Hue::Cache,
            points: points(recent, |sample| seconds(sample.hit_latency.map(|(_, p99)| p99))),
        },
        Line {
            label: "database, p50",
            hue: Hue::Quiet,
            points: points(recent, |sample| seconds(sample.database_latency.map(|(p50, _)| p50))),
        },
        Line {
            label: "database, p99",
            hue: Hue::Database,
            points: points(recent, |sample| seconds(sample.database_latency.map(|(_, p99)| p99))),
        },
    ];
    html! {
        h2 #latency-title { "Latency" }
        div.bigs {
            (big("a hit, half of them", "hit-p50", &hit.0))
            (big("a hit, 99 of 100", "hit-p99", &hit.1))
            (big("the database, half", "database-p50", &database.0))
            (big("the database, 99 of 100", "database-p99", &database.1))
        }
        (figure(chart::lines("Latency of reads", &lines, short)))
        (legend(&lines))
    }
}

fn invalidation(stats: &Stats, feeds: &[FeedStatus]) -> Markup {
    let mut tables: Vec<_> = stats.invalidations_by_table.iter().collect();
    tables.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    html! {
        h2 #invalidation-title { "Invalidation" }
        div.bigs {
            (big("writes", "writes", &count(stats.writes)))
            (big("voided results", "invalidations", &count(stats.invalidations)))
            @for feed in feeds {
                (big(&format!("last heard from {}", feed.feed), &format!("feed-{}", feed.feed), &feed.age.map_or("N/A".into(), short)))
            }
        }
        @if tables.is_empty() {
            p.quiet { "Nothing was written yet." }
        } @else {
            div.scroll tabindex="0" { table { thead { tr { th { "table" } th.number { "writes that voided results" } } }
                tbody { @for (table, times) in tables.iter().take(10) {
                    tr { td { code { (table) } } td.number { (count(**times)) } }
                } }
            } }
        }
    }
}

fn queries(place: &Place, queries: &[QueryStats]) -> Markup {
    let all: f64 = queries.iter().map(|query| query.database_time.as_secs_f64()).sum();
    let share = |query: &QueryStats| if all > 0.0 { query.database_time.as_secs_f64() / all } else { 0.0 };
    html! {
        h2 #queries-title { "What takes the database's time" }
        @if queries.is_empty() {
            p.quiet { "No statement was counted yet." }
        } @else {
            div.scroll tabindex="0" role="region" aria-labelledby="queries-title" {
                table { thead { tr {
                        th.number { "time" } th.number { "calls" } th.number { "hit rate" } th.number { "p50" } th.number { "p99" } th { "statement" }
                    } }
                    tbody { @for query in queries.iter().take(TOP) {
                        tr {
                            td.number { (percent(share(query))) (meter(share(query), "share of database time")) }
                            td.number { (count(query.calls)) }
                            td.number { (query.hit_rate().map_or("N/A".into(), percent)) }
                            td.number { (short(query.latency.p50.as_secs_f64())) }
                            td.number { (short(query.latency.p99.as_secs_f64())) }
                            td.sql { code title=(query.text) { (shortened(&query.text, IN_A_ROW)) } }
                        }
                    } }
                }
            }
            p.quiet {
                (count(queries.len() as u64)) " statements are known: "
                a href=(format!("{}/v1/reports/{}?format=html", place.mount, encoded(&place.pool))) { "the report says what to do about them" } "."
            }
        }
    }
}

fn events(pool: &dyn Operated) -> Markup {
    let events = pool.events();
    html! {
        h2 #events-title { "Events" }
        @if events.is_empty() {
            p.quiet { "Nothing to tell." }
        } @else {
            ol.events tabindex="0" aria-labelledby="events-title" {
                @for event in events.iter().rev().take(EVENTS) {
                    li class=(match event.kind { EventKind::Audit => "bad", EventKind::Breaker | EventKind::Emergency => "warn", _ => "quiet" }) {
                        (clock(event.at)) " " b { (event.kind.label()) } " " (event.text)
                    }
                }
            }
        }
    }
}

/// What only those see who may.
pub(super) fn orders(name: &str) -> Markup {
    html! {
        h2 #orders-title { "Orders" }
        div.orders {
            form data-order=(format!("caches/{}/invalidate", encoded(name))) {
                label { span { "Tables, with commas" } input name="tables" required placeholder="shop.products"; }
                label.check { input type="checkbox" name="dry_run"; span { "only say what would be dropped" } }
                button type="submit" { "Drop what rests on them" }
            }
            form data-order=(format!("caches/{}/flush", encoded(name))) data-sure="Everything that is kept will have to be loaded again." {
                button.danger type="submit" { "Drop everything" }
            }
            form data-order="explain-cache" {
                label { span { "Statement" } textarea name="sql" rows="2" required placeholder="SELECT name FROM products WHERE id = $1" {} }
                button type="submit" { "Would it be cached?" }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn human(value: f64) -> String {
    match value {
        ..1_000.0 => format!("{value:.0}"),
        ..1_000_000.0 => format!("{:.1}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

/// A time in seconds.
fn short(seconds: f64) -> String {
    match seconds {
        ..1e-6 => format!("{:.0} ns", seconds * 1e9),
        ..1e-3 => format!("{:.1} µs", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// In UTC, as the servers' logs have it; with its day, unless that is today.
fn clock(at: SystemTime) -> Markup {
    clock_at(at, SystemTime::now())
}

fn clock_at(at: SystemTime, now: SystemTime) -> Markup {
    let [stamp, now] = [at, now].map(|time| humantime::format_rfc3339_seconds(time).to_string());
    let (day, time) = (stamp.get(..10).unwrap_or_default(), stamp.get(11..19).unwrap_or_default());
    html! {
        time datetime=(stamp) title=(stamp) { @if !now.starts_with(day) { (day) " " } (time) " UTC" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_today_has_its_day() {
        let at = |stamp| humantime::parse_rfc3339(stamp).unwrap();
        let yesterday = at("2026-02-28T23:59:58Z");
        let text = |now| clock_at(yesterday, at(now)).0;
        assert!(text("2026-02-28T23:59:59Z").ends_with(">23:59:58 UTC</time>"), "{}", text("2026-02-28T23:59:59Z"));
        let tomorrow = text("2026-03-01T00:00:01Z");
        assert!(tomorrow.contains("datetime=\"2026-02-28T23:59:58Z\""), "{tomorrow}");
        assert!(tomorrow.ends_with(">2026-02-28 23:59:58 UTC</time>"), "{tomorrow}");
    }
}
