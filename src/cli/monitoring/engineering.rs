//! The dashboard for those who write the application: what is kept, what is not, and why.

use serde_json::Value;

use super::dashboard::{Panel, dashboard, increase, mean, of, quantile, rate};
use crate::catalogue::{
    AUDITS, BYTES, DATABASE_TIME, ENTRIES, QUERIES, REFRESHES, REMOVALS, REQUEST_SECONDS, REQUESTS, STALE_TABLES,
    STORES, WRITES,
};

pub(super) fn engineering() -> Value {
    let sum = |label: &str, what: String| match label {
        "" => format!("sum({what})"),
        _ => format!("sum by ({label}) ({what})"),
    };
    let rows = [
        ("Reads", vec![
            Panel::areas("Hits", "reqps", "By the tier that answered: memory (rows), typed (decoded values), redis.")
                .of(sum("tier", rate(&REQUESTS, r#"outcome="hit""#)), "{{tier}}")
                .of(sum("", rate(&REQUESTS, r#"outcome="coalesced""#)), "coalesced"),
            Panel::areas("Misses", "reqps", "By reason. absent: never asked for, or left. invalidated: a table was written. expired: ttl. tier_down: Redis is silent.")
                .of(sum("reason", rate(&REQUESTS, r#"outcome="miss""#)), "{{reason}}"),
            Panel::areas("Bypasses", "reqps", "Reads that cannot be kept, the ten reasons given most. larder explain tells of a statement why, the docs of Reason what each means.")
                .of(format!("topk(10, {})", sum("reason", rate(&REQUESTS, r#"outcome="bypass""#))), "{{reason}}"),
            Panel::areas("Loaded results", "reqps", "Kept (no reason), or why not: written_meanwhile, too_large (max_entry_bytes), unfaithful, failed.")
                .of(sum("", rate(&STORES, r#"reason="""#)), "kept")
                .of(sum("reason", rate(&STORES, r#"reason!="""#)), "{{reason}}"),
        ]),
        ("Memory", vec![
            Panel::lines("Bytes", "bytes", "What entries take, by node. It is full at max_bytes.")
                .of(sum("instance", of(&BYTES, "")), "{{instance}}"),
            Panel::lines("Entries", "short", "Entries kept, by node; those included that are no longer valid but have not left yet.")
                .of(sum("instance", of(&ENTRIES, "")), "{{instance}}"),
            Panel::areas("What leaves", "ops", "By cause. size: there was no room, or none for what is hardly asked for. replaced: a newer result took its place.")
                .of(sum("cause", rate(&REMOVALS, "")), "{{cause}}"),
            Panel::lines("Bytes of an entry", "bytes", "The mean. Large results gain little from a cache: a hit has to make their rows.")
                .of(format!("{} / {}", sum("", of(&BYTES, "")), sum("", of(&ENTRIES, ""))), "mean")
                .nothing("no entries"),
        ]),
        ("Time", vec![
            Panel::lines("A read of the database", "s", "Quantiles of the node where it takes longest, without the wait for a connection, over the last minute or so; mean of all.")
                .of(quantile(&REQUEST_SECONDS, "0.5", ""), "p50")
                .of(quantile(&REQUEST_SECONDS, "0.9", ""), "p90")
                .of(quantile(&REQUEST_SECONDS, "0.99", ""), "p99")
                .of(quantile(&REQUEST_SECONDS, "0.999", ""), "p99.9")
                .of(mean(&REQUEST_SECONDS, ""), "mean")
                .from(1.0, "red"),
            Panel::lines("Database time", "s", "Seconds that reads and writes wait for the database in each second, by node.")
                .of(format!("{} / 1e6", sum("instance", rate(&DATABASE_TIME, ""))), "{{instance}}"),
            Panel::lines("Refreshes and writes", "ops", "Results replaced in the background before their time was over; statements that write.")
                .of(sum("", rate(&REFRESHES, "")), "refreshes")
                .of(sum("", rate(&WRITES, "")), "writes"),
            Panel::lines("Statements", "short", "Those with a record of their own, by node: pool.queries(). Many more than the application has: SQL is put together with values in it.")
                .of(sum("instance", of(&QUERIES, "")), "{{instance}}"),
        ]),
        ("Is it right?", vec![
            Panel::areas("Audits", "reqps", "Answers from the cache that the database was asked for again, by what came of it. None without Builder::audit.")
                .of(sum("outcome", rate(&AUDITS, "")), "{{outcome}}"),
            Panel::lines("Wrong answers by table", "short", "Since each node started: the tables that wrong answers rest on. Somebody writes to one of them who is not seen.")
                // Its first count begins the series of a table: a rate would not see it.
                .of(format!("{} > 0", sum("table", of(&STALE_TABLES, ""))), "{{table}}")
                .nothing("none found")
                .from(1.0, "red"),
            Panel::number("Audited", "short", "Answers that were looked into in the time shown, and found good or wrong.")
                .of(sum("", increase(&AUDITS, r#"outcome=~"good|stale""#)), "audited"),
        ]),
    ];
    dashboard("larder-engineering", "Larder: engineering", "What is kept, what is not, and why.", &rows)
}
