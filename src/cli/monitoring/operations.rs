//! The dashboard for those who run it: breakers, connections, feeds and what is dropped.

use serde_json::Value;

use super::dashboard::{Panel, dashboard, of, quantile, rate};
use crate::catalogue::{
    BREAKERS, CONNECTIONS, EMERGENCIES, FEED_LAG, FEEDS, INVALIDATIONS, POOL_CONNECTIONS, POOL_MOST, POOL_PENDING,
    POOL_TIMEOUTS, POOL_WAIT, REDIS_FAILURES, REDIS_PENDING, REDIS_SECONDS, REJECTIONS, REPLICAS, REQUESTS,
    TABLE_INVALIDATIONS, TRANSITIONS, UNPUBLISHED, WRITES,
};

pub(super) fn operations() -> Value {
    let sum = |label: &str, what: String| match label {
        "" => format!("sum({what})"),
        _ => format!("sum by ({label}) ({what})"),
    };
    let rows = [
        ("The database", vec![
            Panel::areas("Breakers", "short", "By what they stand before and by state, one for each pool, and for Redis one for each node. open and half_open: the database is in trouble. forced and disabled: by hand or by options.")
                .of(sum("backend, state", of(&BREAKERS, "")), "{{backend}} {{state}}"),
            Panel::lines("Breakers that turn", "ops", "Turns per second, by what they stand before and between which states. Many from closed to open and back: it is at its limit.")
                .of(format!("{} > 0", sum("backend, from, to", rate(&TRANSITIONS, ""))), "{{backend}}: {{from}} to {{to}}")
                .nothing("none"),
            Panel::lines("Rejections", "reqps", "Calls that were not made, by what refused them: breaker, load_limit (limit_loads), rate_limit (limit_rate), emergency, consistency (strict writes without Redis).")
                .of(sum("guard", rate(&REJECTIONS, "")), "{{guard}}")
                .from(0.1, "red"),
            Panel::lines("Emergencies", "short", "Pools that shed work for want of connections or of memory.")
                .of(sum("pressure", of(&EMERGENCIES, "")), "{{pressure}}")
                .from(1.0, "red"),
            Panel::lines("Stale answers", "reqps", "Answers given out beyond their time, as stale_if_error allows while the database does not answer.")
                .of(sum("", rate(&REQUESTS, r#"outcome="stale""#)), "stale")
                .from(0.1, "orange"),
        ]),
        ("Connections", vec![
            Panel::lines("Connections", "short", "Those in use, those idle, and as many as there may be. used at max for long: see who waits.")
                .of(sum("db_client_connection_state", of(&POOL_CONNECTIONS, "")), "{{db_client_connection_state}}")
                .of(sum("", of(&POOL_MOST, "")), "max"),
            Panel::lines("Callers that wait", "short", "Who waits for a connection, by node.")
                .of(sum("instance", of(&POOL_PENDING, "")), "{{instance}}")
                .from(10.0, "red"),
            Panel::lines("The wait for a connection", "s", "Of the node where it takes longest, whether one was got or not.")
                .of(quantile(&POOL_WAIT, "0.5", ""), "p50")
                .of(quantile(&POOL_WAIT, "0.99", ""), "p99")
                .from(0.1, "orange")
                .from(1.0, "red"),
            Panel::lines("Waits in vain", "ops", "By cause. cannot_connect: no new connection can be made; slow_queries: most are at statements that take long; backlog: at statements that do not; leak_suspected: most are with callers that ask nothing.")
                .of(sum("cause", rate(&POOL_TIMEOUTS, "")), "{{cause}}")
                .from(0.01, "red"),
        ]),
        ("What others write", vec![
            Panel::areas("Feeds", "short", "Pools that hear of what others write, from Redis or triggers. behind: not for longer than promised, so that nothing is answered from memory.")
                .of(sum("feed, state", of(&FEEDS, "")), "{{feed}} {{state}}"),
            Panel::lines("How far behind", "s", "How long ago the last look began that was answered: no answer from memory is staler than this, or than the bound.")
                .of(quantile(&FEED_LAG, "0.99", r#"feed="redis""#), "redis p99")
                .of(quantile(&FEED_LAG, "0.99", r#"feed="triggers""#), "triggers p99")
                .from(1.0, "orange"),
            Panel::lines("Redis", "short", "Connections to Redis and replicas that it told of, summed over pools. No connection, though a feed of Redis is there: it is out of reach.")
                .of(sum("", of(&CONNECTIONS, "")), "connections")
                .of(sum("", of(&REPLICAS, "")), "replicas"),
            Panel::lines("Questions to Redis", "short", "Those that are not answered yet, and failures a second by cause. away: no connection; spared: its breaker is open; late: longer than it may take; failed: it broke or objected.")
                .of(sum("", of(&REDIS_PENDING, "")), "pending")
                .of(sum("cause", rate(&REDIS_FAILURES, "")), "{{cause}}"),
            Panel::lines("How long Redis takes", "s", "Of the node where it takes longest.")
                .of(quantile(&REDIS_SECONDS, "0.5", ""), "p50")
                .of(quantile(&REDIS_SECONDS, "0.99", ""), "p99")
                .from(0.05, "red"),
            Panel::lines("Writes that others were not told of", "short", "Tables that were written here of which other nodes could not be told yet, by node.")
                .of(sum("instance", of(&UNPUBLISHED, "")), "{{instance}}")
                .from(1.0, "red"),
        ]),
        ("What is dropped", vec![
            Panel::areas("Invalidations", "ops", "Writes and commits that voided cached results, by reason. opaque and unknown ones drop more than they need to: larder doctor says why.")
                .of(sum("reason", rate(&INVALIDATIONS, "")), "{{reason}}"),
            Panel::lines("Tables", "ops", "The ten that are invalidated most. * stands for all tables at once, other for those beyond the first 200.")
                .of(format!("topk(10, {})", sum("table", rate(&TABLE_INVALIDATIONS, ""))), "{{table}}"),
            Panel::lines("Writes", "wps", "Statements that wrote, or may have, by node.")
                .of(sum("instance", rate(&WRITES, "")), "{{instance}}"),
        ]),
    ];
    dashboard("larder-operations", "Larder: operations", "Breakers, connections, feeds and what is dropped.", &rows)
}
