//! An answer that is given up when the database takes too long for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep};

/// Fails when the database was waited for so long altogether; what the caller does between two rows does not count.
pub(crate) struct InTime<S> {
    items: S,
    /// `None`: it may take as long as it takes.
    most: Option<Duration>,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    is_over: bool,
}

impl<S> InTime<S> {
    pub fn new(items: S, most: Option<Duration>) -> Self {
        Self { items, most, left: most.unwrap_or_default(), waiting: None, is_over: false }
    }
}

fn too_late(most: Duration) -> sqlx::Error {
    let sentence = format!("the database did not answer within {most:?}, and was not waited for any longer");
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, sentence))
}

/// Whether the database may still be at it.
pub(crate) fn is_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

impl<S, T> Stream for InTime<S>
where
    S: Stream<Item = Result<T, sqlx::Error>> + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.items.poll_next_unpin(context);
        let Some(most) = self.most else { return polled };
        if polled.is_ready() {
            if let Some((since, _)) = self.waiting.take() {
                self.left = self.left.saturating_sub(since.elapsed());
            }
            return polled;
        }
        let left = self.left;
        let (_, timer) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.is_over = true;
        Poll::Ready(Some(Err(too_late(most))))
    }
}

/// The same for an answer that comes as a whole.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
    most: Option<Duration>,
) -> Result<T, sqlx::Error> {
    match most {
        None => answer.await,
        Some(most) => tokio::time::timeout(most, answer).await.unwrap_or_else(|_| Err(too_late(most))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts() {
        let nap = Duration::from_secs(1);
        let rows = |naps: u32| {
            stream::unfold(0, move |row| async move {
                sleep(nap * naps).await;
                (row < 3).then_some((Ok::<_, sqlx::Error>(row), row + 1))
            })
        };
        let mut items = InTime::new(rows(1).boxed(), Some(Duration::from_secs(5)));
        let mut seen = 0;
        while let Some(row) = items.next().await {
            row.unwrap();
            seen += 1;
            sleep(nap * 100).await;
        }
        assert_eq!(seen, 3);
        let mut items = InTime::new(rows(2).boxed(), Some(Duration::from_secs(5)));
        assert!(items.next().await.unwrap().is_ok() && items.next().await.unwrap().is_ok());
        let error = items.next().await.unwrap().unwrap_err();
        assert!(is_late(&error) && error.to_string().contains("within 5s"), "{error}");
        assert!(items.next().await.is_none());
    }
}
