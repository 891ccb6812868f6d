//! This node among those that share the versions of one database in Redis.
//!
//! In: reads that want the versions of their tables, writes that announce themselves. Out: what Redis says, or that it says
//! nothing in time; then nothing is kept or shared that rests on it.
//! It never believes versions that no poll confirmed within the bound, and never forgets a write that others were not told of.
//!
//! See docs/decisions/0016-versions-in-redis.md for the rules.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Cmd, Script, Value as Answer, cmd};
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use super::mirror::{Heard, Mirror, Ticket, Value};
use crate::chance::jittered;
use crate::faults::{self, Rule};
use crate::guard::Breaker;
use crate::recency::Recency;
use crate::stamp::{Cell, Stamp};
use crate::tier::{Consistency, Down, Entries, Redis, RedisOptions, random};

const PROTOCOL: &str = include_str!("protocol.lua");
static DIGEST: LazyLock<String> = LazyLock::new(|| Script::new(PROTOCOL).get_hash().to_owned());

/// Names that one call of the script may hold: Lua takes some thousand arguments.
const MOST_NAMES: usize = 1000;
/// Polls within the bound, so that one may be late.
const POLLS_PER_BOUND: u32 = 4;
/// Between polls where there is no bound.
const USUAL_POLL: Duration = Duration::from_millis(250);
/// Between attempts to reach Redis.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Before the database is looked at for the first time, Redis is waited for so long.
const READY_WITHIN: Duration = Duration::from_millis(500);

/// Before a pool is closed, Redis is waited for so long.
const ORDERS_TAKE: Duration = Duration::from_secs(5);

/// This node among the others.
#[derive(Debug)]
pub(crate) struct Node {
    redis: Arc<Redis>,
    entries: Entries,
    key: String,
    channel: String,
    name: String,
    incarnation: Mutex<String>,
    /// Those of the first pool.
    options: RedisOptions,
    mirror: Mutex<Mirror>,
    /// When the last poll was sent that was answered.
    polled: Recency,
    replicas: AtomicU64,
    next_writer: AtomicU64,
    /// Writes that are announced, or may be.
    writers: Mutex<HashMap<Arc<str>, Writer>>,
    /// What was written and others were not told of.
    pending: Mutex<Pending>,
    /// How many orders to drop something are being told.
    orders: AtomicUsize,
    /// What a write changes of which it is not known what it changes, the schema apart.
    everything: [Arc<Cell>; 1],
    /// Wakes whoever looks after the connection.
    nudge: Arc<Notify>,
    /// Told when the versions are those of another database, or of this one before it was started again.
    foreign: AtomicBool,
    runtime: Handle,
}

#[derive(Debug)]
struct Writer {
    names: Arc<[Arc<str>]>,
    renewed: Instant,
}

#[derive(Debug, Default)]
struct Pending {
    /// In flight on this node until others are told.
    cells: HashMap<Arc<str>, Arc<Cell>>,
    writers: HashSet<Arc<str>>,
    /// Of how many others are being told now.
    under_way: usize,
    /// What was last known of the catalog when the oldest of them was sent.
    catalog: Option<Catalog>,
}

/// The epoch, and the version of the catalog in it, if there was any.
type Catalog = Option<(u128, u64)>;

/// What Redis said of a read.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// What its result may rest on. `None`: something is being written.
    pub ticket: Option<(Ticket, Stamp)>,
    /// What is kept under its name.
    pub entry: Option<Vec<u8>>,
    pub now: u64,
}

/// What a database is called, the same for all nodes, and what tells when it was started or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub database: String,
    pub incarnation: String,
}

impl Node {
    /// Joins those that share the versions of a database. It lives as long as somebody holds it.
    ///
    /// # Errors
    /// The options make no sense.
    pub fn join(
        options: &RedisOptions,
        place: &Place,
        [catalog, everything]: [&Arc<Cell>; 2],
        breaker: Arc<Breaker>,
        runtime: Handle,
    ) -> Result<Arc<Self>, Down> {
        let redis = Arc::new(Redis::new(options, breaker)?);
        let namespace = blake3::derive_key(
            "larder 2026 namespace of a database",
            format!("{}\n{}", options.namespace, place.database).as_bytes(),
        );
        let namespace_text = blake3::Hash::from(namespace).to_hex()[..32].to_owned();
        let node = Arc::new(Self {
            entries: Entries::new(redis.clone(), namespace, options, &runtime),
            redis,
            // In a cluster, what is in braces says where the key is.
            key: format!("larder:{{{namespace_text}}}:v"),
            channel: format!("larder:{{{namespace_text}}}:feed"),
            name: random_text(),
            incarnation: Mutex::new(place.incarnation.clone()),
            options: options.clone(),
            mirror: Mutex::new(Mirror::new(options.consistency != Consistency::Ttl, catalog)),
            everything: [everything.clone()],
            polled: Recency::new(),
            replicas: AtomicU64::new(0),
            next_writer: AtomicU64::new(0),
            writers: Mutex::default(),
            pending: Mutex::default(),
            orders: AtomicUsize::new(0),
            nudge: Arc::default(),
            foreign: AtomicBool::new(false),
            runtime,
        });
        node.runtime.spawn(keep(Arc::downgrade(&node), node.nudge.clone()));
        node.runtime.spawn(listen(Arc::downgrade(&node)));
        Ok(node)
    }

    /// Whether a read may be answered from memory without a question to Redis.
    pub fn may_answer(&self) -> bool {
        if faults::is_broken(Rule::Bound) {
            return true;
        }
        match self.options.consistency {
            Consistency::Strict => false,
            Consistency::Ttl => true,
            Consistency::Bounded(bound) => self.age().is_some_and(|age| age < bound),
        }
    }

    /// Whether Redis answered lately: within the bound, or where there is none, within some polls.
    pub fn is_current(&self) -> bool {
        self.age().is_some_and(|age| age < self.hears_within())
    }

    /// Within what time it is heard what others wrote, while Redis answers.
    pub fn hears_within(&self) -> Duration {
        match self.options.consistency {
            Consistency::Bounded(bound) => bound,
            _ => USUAL_POLL * POLLS_PER_BOUND,
        }
    }

    /// What it joined with.
    pub fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// What stands before Redis.
    pub fn breaker(&self) -> &Arc<Breaker> {
        self.redis.breaker()
    }

    /// How many connections lead to Redis.
    pub fn connections(&self) -> usize {
        self.redis.connected()
    }

    /// How many replicas Redis had, as far as is known.
    pub fn replicas(&self) -> u64 {
        self.replicas.load(Relaxed)
    }

    /// Whether results are kept though Redis says nothing of what they rest on.
    pub fn keeps_alone(&self) -> bool {
        self.options.consistency == Consistency::Ttl
    }

    /// How long ago the last poll was sent that was answered.
    pub fn age(&self) -> Option<Duration> {
        self.polled.age()
    }

    /// What is kept of results in Redis.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Asks for the versions of `cells`, and for what is kept under `entry`. `None`: no word in time.
    pub async fn fetch(&self, cells: &Arc<[Arc<Cell>]>, entry: Option<(&[u8; 32], usize)>) -> Option<Fetched> {
        if !self.redis.is_up() {
            return None;
        }
        let sent = self.mirror().generation();
        let mut call = self.call("read");
        call.arg(cells.iter().map(|cell| &**cell.name()).collect::<Vec<_>>());
        let answered = match entry {
            Some((name, most)) => {
                let get = self.entries.get(name, most);
                self.ask_both(&call, &get).await.map(|(heard, entry)| (heard, bytes(entry)))
            }
            None => self.ask(&call).await.map(|heard| (heard, None)),
        };
        let (heard, entry) = self.told(answered)?;
        let mut mirror = self.mirror();
        mirror.fetched(sent, &heard, &**cells);
        Some(Fetched { ticket: mirror.ticket(&heard, cells), entry, now: heard.now })
    }

    /// Announces a write of `cells`: see [`Notice::sent`].
    pub fn announce(self: &Arc<Self>, cells: Vec<Arc<Cell>>) -> Notice {
        let writer: Arc<str> = format!("{}.{}", self.name, self.next_writer.fetch_add(1, Relaxed)).into();
        let (tell, sent) = watch::channel(None);
        // As what is to be written was planned before this, news means that it may have been planned wrongly.
        let catalog = self.mirror().catalog();
        if self.redis.is_up() {
            let names = cells.iter().map(|cell| cell.name().clone()).collect();
            lock(&self.writers).insert(writer.clone(), Writer { names, renewed: Instant::now() });
            let (node, writer, cells) = (self.clone(), writer.clone(), cells.clone());
            self.runtime.spawn(async move { tell.send_replace(Some(node.arm(&writer, &cells).await)) });
        } else {
            tell.send_replace(Some(false));
        }
        Notice { node: self.clone(), writer, cells, catalog, sent }
    }

    async fn arm(&self, writer: &Arc<str>, cells: &[Arc<Cell>]) -> bool {
        loop {
            let begun = Instant::now();
            for cells in cells.chunks(MOST_NAMES) {
                let mut call = self.call("arm");
                call.arg(&**writer);
                if !self.tell_of(call, cells).await {
                    return false;
                }
            }
            // Who was asleep that long may have been given up.
            if begun.elapsed() < self.options.lease / 3 {
                return true;
            }
        }
    }

    /// Others may read again what was written by who knew this of the catalog. Whether they were told.
    async fn finish<'w>(
        &self,
        writers: impl IntoIterator<Item = &'w Arc<str>>,
        cells: &[Arc<Cell>],
        catalog: Catalog,
    ) -> bool {
        let writers: Vec<_> = writers.into_iter().collect();
        for cells in cells.chunks(MOST_NAMES) {
            if !self.tell_of(self.finishes(&writers), cells).await {
                return false;
            }
        }
        // Somebody changed the schema meanwhile: perhaps more was written than was known.
        let now = self.mirror().catalog();
        let is_outdated = now.is_none() || catalog != now;
        if is_outdated && !self.tell_of(self.finishes(&writers), &self.everything).await {
            return false;
        }
        let mut announced = lock(&self.writers);
        writers.into_iter().for_each(|writer| drop(announced.remove(writer)));
        true
    }

    fn finishes(&self, writers: &[&Arc<str>]) -> Cmd {
        let mut call = self.call("finish");
        call.arg(writers.len());
        call.arg(writers.iter().map(|writer| &***writer).collect::<Vec<_>>());
        call
    }

    async fn tell_of(&self, mut call: Cmd, cells: &[Arc<Cell>]) -> bool {
        if faults::is_broken(Rule::Announce) {
            return true;
        }
        if !self.redis.is_up() {
            return false;
        }
        let sent = self.mirror().generation();
        call.arg(cells.iter().map(|cell| &**cell.name()).collect::<Vec<_>>());
        let answered = self.ask_anyhow(&call).await;
        let Some(heard) = self.told(answered) else { return false };
        self.mirror().fetched(sent, &heard, cells);
        true
    }

    /// What was written stays in flight on this node until others are told.
    fn put_off(&self, writer: &Arc<str>, cells: &[Arc<Cell>], catalog: Catalog) {
        if faults::is_broken(Rule::Pending) {
            return;
        }
        let mut pending = lock(&self.pending);
        pending.catalog.get_or_insert(catalog);
        for cell in cells {
            pending.cells.entry(cell.name().clone()).or_insert_with(|| {
                cell.arm();
                cell.clone()
            });
        }
        if lock(&self.writers).contains_key(writer) {
            pending.writers.insert(writer.clone());
        }
        drop(pending);
        self.nudge.notify_one();
    }

    async fn publish_pending(&self) {
        let (cells, writers, catalog) = {
            let mut pending = lock(&self.pending);
            let Pending { cells, writers, catalog, .. } = std::mem::take(&mut *pending);
            pending.under_way = cells.len();
            (cells, writers, catalog)
        };
        if cells.is_empty() {
            return;
        }
        let all: Vec<Arc<Cell>> = cells.values().cloned().collect();
        let told = self.finish(&writers, &all, catalog.unwrap_or_default()).await;
        let mut pending = lock(&self.pending);
        pending.under_way = 0;
        if !told {
            pending.writers.extend(writers);
            pending.catalog = catalog;
        }
        for (name, cell) in cells {
            // Put off again meanwhile, it is in flight twice.
            if told || pending.cells.contains_key(&name) {
                cell.finish();
            } else {
                pending.cells.insert(name, cell);
            }
        }
    }

    /// How many tables were written of which others were not told yet.
    pub fn unpublished(&self) -> usize {
        // In this order: what can not be told is put off before its order is over.
        let orders = self.orders.load(SeqCst);
        let pending = lock(&self.pending);
        pending.cells.len() + pending.under_way + orders
    }

    async fn renew(&self) {
        let due: Vec<_> = lock(&self.writers)
            .iter()
            .filter(|(_, writer)| writer.renewed.elapsed() >= self.options.lease / 3)
            .map(|(name, writer)| (name.clone(), writer.names.clone()))
            .collect();
        for (writer, names) in due {
            let begun = Instant::now();
            for names in names.chunks(MOST_NAMES) {
                let mut call = self.call("renew");
                call.arg(&*writer);
                call.arg(names.iter().map(|name| &**name).collect::<Vec<_>>());
                let answered = self.ask_anyhow(&call).await;
                if self.told(answered).is_none() {
                    return;
                }
            }
            if let Some(writer) = lock(&self.writers).get_mut(&writer) {
                writer.renewed = begun;
            }
        }
    }

    /// Hears of everything that changed since the last poll. False if it heard too little to rely on.
    async fn poll(&self) -> Result<bool, Down> {
        let (sent, (epoch, seq)) = {
            let mirror = self.mirror();
            (mirror.generation(), mirror.heard())
        };
        let begun = Instant::now();
        let mut call = self.call("poll");
        call.arg(format!("{epoch:032x}")).arg(seq);
        let heard = self.ask_named(&call).await?;
        self.replicas.store(heard.0.replicas, Relaxed);
        if heard.0.foreign {
            self.foreign.store(true, SeqCst);
        }
        let is_complete = self.mirror().polled(sent, &heard.0, &heard.1);
        if is_complete {
            self.polled.answered(begun);
        }
        Ok(is_complete)
    }

    async fn catch_up(&self) {
        if !self.redis.is_up() || !self.poll().await.unwrap_or(false) {
            self.polled.forget();
            if self.keeps_alone() {
                // Memory is given out without word from Redis: what is in it is dropped instead.
                self.everything[0].arm();
                self.everything[0].finish();
            }
            self.nudge.notify_one();
        }
    }

    /// The furthest that this node heard of. `None` where that leaves out what it wrote itself, or where it heard of nothing.
    pub fn token(&self) -> Option<(u128, u64)> {
        // In this order: what was told in between is heard of.
        if self.unpublished() == 0 { self.mirror().told() } else { None }
    }

    /// Counts an order to drop something as not published until it `is_told`, or cannot be told.
    pub fn orders(self: &Arc<Self>, is_told: super::Finished) {
        self.orders.fetch_add(1, SeqCst);
        let node = self.clone();
        self.runtime.spawn(async move {
            is_told.await;
            node.orders.fetch_sub(1, SeqCst);
        });
    }

    /// Returns when there is no such order any more, but does not wait for long.
    pub async fn orders_are_told(&self) {
        let begun = Instant::now();
        while self.orders.load(SeqCst) > 0 && begun.elapsed() < ORDERS_TAKE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Before something is loaded without a word from Redis: what is heard later of these tables or tags voids it.
    pub fn meets(&self, cells: &[Arc<Cell>]) {
        self.mirror().meets(cells);
    }

    /// Hears of everything up to a token of any node, or gives out nothing from memory until it has.
    pub async fn at_least(&self, token: (u128, u64)) {
        let (epoch, seq) = self.mirror().heard();
        if epoch != token.0 || seq < token.1 {
            self.catch_up().await;
        }
    }

    /// Whether the versions were found to be those of another database, or of this one before it was started again, since
    /// this was asked last.
    pub fn met_stranger(&self) -> bool {
        self.foreign.swap(false, SeqCst)
    }

    /// Waits until Redis was reached, but not for long.
    pub async fn ready(&self) {
        let begun = Instant::now();
        while !self.redis.is_up() && begun.elapsed() < READY_WITHIN {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Tells when the database was started or replaced. Whether that is news.
    pub fn set_incarnation(&self, incarnation: &str) -> bool {
        let mut now = lock(&self.incarnation);
        let is_news = *now != incarnation;
        incarnation.clone_into(&mut now);
        is_news
    }

    fn call(&self, operation: &str) -> Cmd {
        // Polls bring the script along, so that whichever server is asked knows it.
        let mut call = match operation {
            "poll" => cmd("EVAL"),
            _ => cmd("EVALSHA"),
        };
        call.arg(if operation == "poll" { PROTOCOL } else { &DIGEST })
            .arg(1)
            .arg(&self.key)
            .arg(&self.channel)
            .arg(operation);
        call.arg(random_text()).arg(&*lock(&self.incarnation)).arg(self.options.lease.as_millis().max(1) as u64);
        call
    }

    async fn ask(&self, call: &Cmd) -> Result<Heard, Down> {
        Ok(read(self.redis.ask(call).await?)?.0)
    }

    /// The same for what other nodes rely on.
    async fn ask_anyhow(&self, call: &Cmd) -> Result<Heard, Down> {
        Ok(read(self.redis.ask_anyhow(call).await?)?.0)
    }

    async fn ask_named(&self, call: &Cmd) -> Result<(Heard, Vec<Box<str>>), Down> {
        let answer = self.redis.ask_anyhow(call).await?;
        read(answer)
    }

    async fn ask_both(&self, call: &Cmd, get: &Cmd) -> Result<(Heard, Answer), Down> {
        let (heard, entry) = self.redis.ask_both(call, get).await?;
        Ok((read(heard)?.0, entry))
    }

    /// Without word from Redis, nobody asks again before it was reached.
    fn told<T>(&self, answered: Result<T, Down>) -> Option<T> {
        answered
            .inspect_err(|why| {
                tracing::debug!(target: "larder::tier", %why, "Redis did not answer");
                if !matches!(why, Down::Spared(_)) {
                    self.redis.give_up();
                    self.nudge.notify_one();
                }
            })
            .ok()
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        lock(&self.mirror)
    }
}

/// A write that was announced.
#[derive(Debug)]
pub(crate) struct Notice {
    node: Arc<Node>,
    writer: Arc<str>,
    cells: Vec<Arc<Cell>>,
    catalog: Catalog,
    sent: watch::Receiver<Option<bool>>,
}

impl Notice {
    /// Returns when others know of the write, or cannot be told. False if the write must not be done then.
    pub async fn sent(&mut self) -> bool {
        self.is_sent().await || self.node.options.consistency != Consistency::Strict
    }

    async fn is_sent(&mut self) -> bool {
        // Who was to tell is gone, or has told.
        matches!(self.sent.wait_for(Option::is_some).await.as_deref(), Ok(Some(true)))
    }

    /// Whether it was given to this node.
    pub fn is_of(&self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(&self.node, node)
    }

    /// More that the write turned out to change.
    pub fn add(&mut self, cells: impl IntoIterator<Item = Arc<Cell>>) {
        self.cells.extend(cells);
    }

    /// Calls `open` once others were told that the write is over, or once this node keeps to itself that they were not.
    pub fn finish(mut self, open: impl FnOnce() + Send + 'static) -> Finished {
        let (tell, finished) = oneshot::channel();
        let runtime = self.node.runtime.clone();
        runtime.spawn(async move {
            faults::perhaps_die();
            if !self.is_sent().await || !self.node.finish([&self.writer], &self.cells, self.catalog).await {
                self.node.put_off(&self.writer, &self.cells, self.catalog);
            }
            open();
            let _ = tell.send(());
        });
        Finished(Some(finished))
    }
}

/// Ready once others were told that a write is over, or cannot be told.
#[derive(Debug)]
pub(crate) struct Finished(Option<oneshot::Receiver<()>>);

impl Future for Finished {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(finished) = &mut self.0 {
            let _ = ready!(Pin::new(finished).poll(context));
        }
        self.0 = None;
        Poll::Ready(())
    }
}

/// Polls, renews and publishes, and brings the connection back.
async fn keep(node: Weak<Node>, nudge: Arc<Notify>) {
    let mut retry = FIRST_RETRY;
    let (mut connected, mut epoch) = (false, 0);
    loop {
        let Some(node) = node.upgrade() else { return };
        let kept = async {
            if !connected {
                node.redis.connect().await?;
            }
            node.poll().await
        };
        let pause = match kept.await {
            Ok(_) => {
                let now = node.mirror().heard().0;
                if now != epoch && epoch != 0 && connected {
                    // What was made before may lead to a server that is primary no more.
                    connected = node.redis.connect().await.is_ok();
                } else {
                    connected = true;
                }
                epoch = now;
                if connected {
                    node.redis.take_up();
                    node.publish_pending().await;
                    node.renew().await;
                }
                retry = FIRST_RETRY;
                match node.options.consistency {
                    Consistency::Bounded(bound) => bound / POLLS_PER_BOUND,
                    _ => USUAL_POLL,
                }
            }
            Err(why) => {
                if node.redis.is_up() || retry == LAST_RETRY {
                    tracing::warn!(target: "larder::tier", %why, "Redis is out of reach; results are not shared until it is back");
                }
                node.redis.give_up();
                connected = false;
                let pause = jittered(retry);
                retry = (retry * 2).min(LAST_RETRY);
                pause
            }
        };
        drop(node);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = nudge.notified(), if connected => {}
        }
    }
}

/// Hears what is pushed. What is missed while it does not, the next poll tells.
async fn listen(node: Weak<Node>) {
    let mut retry = FIRST_RETRY;
    loop {
        let Some(listening) = node.upgrade() else { return };
        let feed = listening.redis.listen(&listening.channel).await;
        drop(listening);
        if let Ok(mut feed) = feed {
            retry = FIRST_RETRY;
            let mut messages = feed.on_message();
            while let Some(message) = messages.next().await {
                let Some(node) = node.upgrade() else { return };
                if let Some((epoch, seq, changes)) = read_push(message.get_payload_bytes()) {
                    node.mirror().pushed(epoch, seq, &changes);
                }
            }
        }
        tokio::time::sleep(jittered(retry)).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// What the script answered, with the names that a poll tells.
fn read(answer: Answer) -> Result<(Heard, Vec<Box<str>>), Down> {
    let strange = || Down::Failed("an answer that the protocol does not know".into());
    let Answer::Array(parts) = answer else { return Err(strange()) };
    let [epoch, seq, now, replicas, foreign, all, catalog, changing, values] =
        <[Answer; 9]>::try_from(parts).map_err(|_| strange())?;
    let number = |answer: &Answer| match answer {
        Answer::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let text = |answer: Answer| match answer {
        Answer::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    };
    let mut heard = Heard {
        epoch: text(epoch).and_then(|epoch| u128::from_str_radix(&epoch, 16).ok()).ok_or_else(strange)?,
        seq: number(&seq).ok_or_else(strange)?,
        now: number(&now).ok_or_else(strange)?,
        replicas: number(&replicas).ok_or_else(strange)?,
        foreign: number(&foreign).ok_or_else(strange)? != 0,
        all: number(&all).ok_or_else(strange)? != 0,
        catalog: Value {
            number: number(&catalog).ok_or_else(strange)?,
            in_flight: number(&changing).ok_or_else(strange)? != 0,
        },
        values: Vec::new(),
    };
    let Answer::Array(values) = values else { return Err(strange()) };
    let (mut names, mut values) = (Vec::new(), values.into_iter().peekable());
    while let Some(value) = values.next() {
        let number_of = match value {
            Answer::BulkString(_) => {
                names.push(text(value).ok_or_else(strange)?.into());
                values.next().ok_or_else(strange)?
            }
            number => number,
        };
        let flag = values.next().ok_or_else(strange)?;
        let (Some(number), Some(flag)) = (number(&number_of), number(&flag)) else { return Err(strange()) };
        heard.values.push(Value { number, in_flight: flag != 0 });
    }
    if !names.is_empty() && names.len() != heard.values.len() {
        return Err(strange());
    }
    Ok((heard, names))
}

type Push = (u128, u64, Vec<(Box<str>, Value)>);

/// `LENGTH:TEXT` one after the other: the epoch, the number of bumps, then for each table its name, number, and whether it is in
/// flight. `None`: not ours.
fn read_push(mut bytes: &[u8]) -> Option<Push> {
    let mut next = || -> Option<&str> {
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
        let rest = &bytes[colon + 1..];
        let (text, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        std::str::from_utf8(text).ok()
    };
    let epoch = u128::from_str_radix(next()?, 16).ok()?;
    let seq = next()?.parse().ok()?;
    let mut changes = Vec::new();
    while let Some(name) = next() {
        let value = Value { number: next()?.parse().ok()?, in_flight: next()? != "0" };
        changes.push((name.into(), value));
    }
    Some((epoch, seq, changes))
}

fn bytes(answer: Answer) -> Option<Vec<u8>> {
    match answer {
        // What is not there has no bytes.
        Answer::BulkString(bytes) if !bytes.is_empty() => Some(bytes),
        _ => None,
    }
}

/// Of 128 bits.
fn random_text() -> String {
    format!("{:032x}", u128::from_ne_bytes(random()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
