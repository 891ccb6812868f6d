//! Every metric there is.

use metrics::Unit;

/// Requests by `outcome` (hit, miss, bypass, coalesced), `reason` and `tier`.
pub(super) const REQUESTS: &str = "larder_requests_total";
/// Results replaced in the background.
pub(super) const REFRESHES: &str = "larder_refreshes_total";
/// Loaded results that were kept (`reason` empty) or not (`reason` says why).
pub(super) const STORES: &str = "larder_stores_total";
/// Writes that voided cached results, by `reason`.
pub(super) const INVALIDATIONS: &str = "larder_invalidations_total";
/// Entries in memory, by `tier`.
pub(super) const ENTRIES: &str = "larder_entries";
/// Bytes of memory that entries take, by `tier`.
pub(super) const BYTES: &str = "larder_bytes";

/// Tells the recorder what each metric means.
pub(super) fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests by outcome, reason and tier");
    metrics::describe_counter!(REFRESHES, "Results replaced in the background before their time was over");
    metrics::describe_counter!(STORES, "Loaded results by what became of them; no reason: kept");
    metrics::describe_counter!(INVALIDATIONS, "Writes that voided cached results, by reason");
    metrics::describe_gauge!(ENTRIES, "Entries kept, by tier");
    metrics::describe_gauge!(BYTES, Unit::Bytes, "Bytes that entries take, by tier");
}
