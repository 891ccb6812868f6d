//! How far a pool has heard of what others write.

use std::time::Duration;

use metrics::Histogram;

use super::catalogue;
use super::counters::Level;

/// Where it hears of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// What nodes of Larder tell each other.
    Redis,
    /// What triggers tell of other programs.
    Triggers,
}

impl Feed {
    pub const ALL: [Self; 2] = [Self::Redis, Self::Triggers];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Triggers => "triggers",
        }
    }
}

/// What was heard from one of them.
pub(super) struct Hearing {
    current: Level,
    behind: Level,
    lag: Histogram,
}

impl Hearing {
    pub fn new(feed: Feed) -> Self {
        let level = |state| Level::new(catalogue::FEEDS.gauge(&[feed.label(), state]));
        let lag = catalogue::FEED_LAG.histogram(&[feed.label()]);
        Self { current: level("current"), behind: level("behind"), lag }
    }

    /// How long ago something was heard, and whether that is soon enough. `None`: nothing is to be heard.
    pub fn heard(&self, how: Option<(Option<Duration>, bool)>) {
        self.current.set(matches!(how, Some((_, true))).into());
        self.behind.set(matches!(how, Some((_, false))).into());
        if let Some((Some(age), _)) = how {
            self.lag.record(age);
        }
    }
}
