//! How durations, times and labels are written as JSON, and read back the same.
//!
//! In: what was counted, or what was written of it. Out: seconds as numbers, labels as text.
//! It never fails for a label that it does not know: that was written by another release, and is left out.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer};

/// A time as it is told: what is finer than a millisecond would not come back from a number of seconds.
pub(crate) fn to_the_millisecond(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A duration, in seconds.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A time, in seconds since 1970.
pub(crate) mod since_1970 {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        super::seconds::serialize(&time.duration_since(UNIX_EPOCH).unwrap_or_default(), serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let since = super::seconds::deserialize(deserializer)?.saturating_add(Duration::from_micros(500));
        let time = UNIX_EPOCH.checked_add(since).ok_or_else(|| D::Error::custom("a time beyond all calendars"))?;
        Ok(super::to_the_millisecond(time))
    }
}

/// Counts by a label; those of labels that are not known are left out.
pub(crate) fn known<'de, K, D>(deserializer: D) -> Result<BTreeMap<K, u64>, D::Error>
where
    K: Labelled + Ord,
    D: Deserializer<'de>,
{
    let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
    Ok(counts.into_iter().filter_map(|(label, count)| Some((K::of_label(&label)?, count))).collect())
}

/// What has a label.
pub(crate) trait Labelled: Sized {
    fn of_label(label: &str) -> Option<Self>;
}

impl Labelled for crate::reason::Reason {
    fn of_label(label: &str) -> Option<Self> {
        Self::of_label(label)
    }
}

/// A duration that may be missing, in seconds.
pub(crate) mod maybe_seconds {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}
