//! Results in Redis.
//!
//! In: the name of a result. Out: what to ask Redis for it, and what its answer means. Results to be kept are written in
//! the background, many at a time; what cannot be written soon is not written.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Cmd, cmd};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::codec::{Codec, Parcel, Unreadable};
use super::options::RedisOptions;
use super::redis::Redis;

/// Results in Redis.
#[derive(Debug)]
pub(crate) struct Entries {
    namespace: [u8; 32],
    codec: Arc<Codec>,
    puts: mpsc::Sender<Put>,
}

#[derive(Debug)]
struct Put {
    name: [u8; 32],
    parcel: Parcel,
    /// How long it is of use.
    life: Duration,
}

/// Results that wait to be written: with the usual limits some megabytes.
const WAITING: usize = 256;
/// Written in one go.
const BATCH: usize = 32;
/// No result is of use for longer.
const LONGEST: Duration = Duration::from_secs(86_400 * 7);

impl Entries {
    pub fn new(redis: Arc<Redis>, namespace: [u8; 32], options: &RedisOptions, runtime: &Handle) -> Self {
        let codec = Arc::new(Codec::new(options.secret.as_deref(), &options.keys));
        let (puts, waiting) = mpsc::channel(WAITING);
        runtime.spawn(write(redis, codec.clone(), waiting));
        Self { namespace, codec, puts }
    }

    /// The name of a result in Redis: equal only for equal results of one database, and for the same tables.
    pub fn name(&self, parts: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.namespace);
        parts(&mut |part| {
            // Lengths keep the parts apart.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        });
        *hasher.finalize().as_bytes()
    }

    /// What to ask for a result of at most `most` bytes. What is larger comes cut, and is refused.
    pub fn get(&self, name: &[u8; 32], most: usize) -> Cmd {
        let mut get = cmd("GETRANGE");
        get.arg(key(name)).arg(0).arg(most.saturating_add(Codec::overhead(most)) as u64);
        get
    }

    /// Reads what was answered.
    pub fn read(&self, name: &[u8; 32], bytes: &[u8], most: usize) -> Result<Parcel, Unreadable> {
        self.codec.decode(name, bytes, most)
    }

    /// Has a result written. False if there is no room to wait.
    pub fn put(&self, name: [u8; 32], parcel: Parcel, life: Option<Duration>) -> bool {
        let life = life.unwrap_or(LONGEST).min(LONGEST);
        self.puts.try_send(Put { name, parcel, life }).is_ok()
    }
}

fn key(name: &[u8; 32]) -> Vec<u8> {
    [b"larder:e:", &name[..]].concat()
}

async fn write(redis: Arc<Redis>, codec: Arc<Codec>, mut waiting: mpsc::Receiver<Put>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        if !redis.is_up() {
            batch.clear();
            continue;
        }
        let commands: Vec<Cmd> = batch
            .drain(..)
            .map(|put| {
                let mut set = cmd("SET");
                let life = u64::try_from(put.life.as_millis()).unwrap_or(u64::MAX).max(1);
                set.arg(key(&put.name)).arg(codec.encode(&put.name, &put.parcel)).arg("PX").arg(life);
                set
            })
            .collect();
        if let Err(why) = redis.tell(&commands).await {
            tracing::debug!(target: "larder::tier", %why, "results could not be written to Redis");
        }
    }
}
