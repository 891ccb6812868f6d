//! What Larder would do for an application that does not use it yet.
//!
//! In: the statistics that a database server keeps of its statements. Out: the heaviest of them, which would be kept and which not and
//! why, and an estimate of the database time that could save. It only reads, and runs none of the statements.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Format;
use super::plans::{self, Planned};
use super::servers::{Counted, Statistics, Unseen};
use crate::analysis::{Dialect, Kind, Name, TransactionControl};
use crate::cli::Failure;
use crate::cli::database::Database;
use crate::cli::output::Output;
use crate::report::document::{self, Body, Section, code, text};
use crate::report::html::{self, Page};
use crate::report::markdown::escaped;
use crate::wording;
use crate::wording::plain;
use crate::{Changes, Explanation};

/// Where the statistics of a server are, and what is made of them.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// The database: postgres://user@host/database, mysql://.. or mariadb://..
    #[arg(long, value_name = "URL", conflicts_with_all = ["pool", "timeout"])]
    pub database_url: Option<String>,
    /// For how long a result would be kept at most.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration, requires = "database_url", conflicts_with_all = ["url", "file"])]
    ttl: Duration,
    /// Ask the server by EXPLAIN how it would run the heaviest reads, and draw hints from that. Nothing is run.
    #[arg(long, requires = "database_url", conflicts_with_all = ["url", "file"])]
    explain: bool,
    /// Reads that are explained, the heaviest first.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "explain")]
    explain_top: usize,
}

/// Columns where there is no terminal.
const PAPER: u16 = 140;

/// What the estimate takes for granted.
const ASSUMPTION: &str = "The estimate supposes that calls and writes come independently, at random and evenly over the time counted, and \
    that each statement has one set of parameters; the servers do not tell how many. More sets save less, bursts of calls more.";

impl Source {
    /// Reads the statistics and prints what is made of them.
    pub async fn run(&self, url: &str, format: Format, top: usize, output: &Output) -> Result<(), Failure> {
        let statistics = Statistics::of(url).await?;
        let database = Database::open(url).await?;
        let mut statements = Vec::new();
        let bar = bar("Analysing statements", statistics.statements.len());
        let of_the_server = OfTheServer { dialect: database.dialect() };
        let mut own = Figures::default();
        for counted in statistics.statements {
            let explanation = database.explain(&counted.text).await?;
            bar.inc(1);
            match of_the_server.has(&counted, &explanation) {
                true => own.add(&counted),
                false => statements.push((counted, explanation)),
            }
        }
        bar.finish_and_clear();
        let mut profile = Profile::of(statements, statistics.over, self.ttl);
        profile.unseen = statistics.unseen;
        profile.gaps = statistics.gaps;
        profile.own = own;
        if self.explain {
            profile.plan(url, self.explain_top, database.dialect() == Dialect::MySql).await?;
        }
        output.write(|mut out| match format {
            Format::Terminal => profile.people(&mut out, top),
            Format::Html => out.write_all(profile.html(top).as_bytes()),
            Format::Json => writeln!(out, "{:#}", profile.json()),
            Format::Csv => profile.csv(out),
            Format::Markdown => profile.markdown(&mut out, top),
        })
    }
}

/// Progress on stderr, if that is a terminal.
fn bar(title: &'static str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:22} {bar:30.cyan/dim} {human_pos} of {human_len}");
    let bar = ProgressBar::new(length as u64).with_message(title);
    match style {
        Ok(style) => bar.with_style(style.progress_chars("━╸─")),
        Err(_) => bar,
    }
}

/// What Larder asks PostgreSQL about itself. In MySQL, its questions are to schemas of the server alone.
const OWN: [&str; 3] = [
    include_str!("../../catalog/postgres_session.sql"),
    include_str!("../../catalog/postgres_survey.sql"),
    include_str!("../../catalog/postgres_witness.sql"),
];

/// Tells apart what only asks the server about itself: it says nothing of the application.
struct OfTheServer {
    dialect: Dialect,
}

impl OfTheServer {
    /// Whether the statement reads what the server knows of itself and nothing else, or is one of Larder's questions.
    fn has(&self, counted: &Counted, explanation: &Explanation) -> bool {
        let facts = &explanation.facts;
        if counted.is_cut || facts.kind == Kind::Write {
            return false;
        }
        let is_system = |name: &Name| {
            let parts: Vec<&str> = name.parts().iter().map(String::as_str).collect();
            match (self.dialect, &parts[..]) {
                (_, [.., "information_schema", _]) => true,
                (Dialect::Postgres, [.., "pg_catalog", _]) => true,
                (Dialect::Postgres, [table]) => table.starts_with("pg_"),
                (Dialect::Postgres, [.., table]) => table.starts_with("pg_stat_statements"),
                (Dialect::MySql, [.., schema, _]) => ["performance_schema", "mysql", "sys"].contains(schema),
                _ => false,
            }
        };
        let asks = facts.kind == Kind::Read
            && explanation.writes == Changes::Nothing
            && explanation.reads.is_err()
            && !facts.reads.is_empty()
            && facts.reads.iter().all(is_system);
        let identity = ["pg_control_system", "pg_postmaster_start_time"];
        let asks_who = facts.reads.is_empty() && identity.iter().any(|name| facts.mentions.functions.contains(*name));
        // Comments stay as they are where values are taken out.
        let comments = OWN.iter().flat_map(|sql| sql.lines()).map(str::trim).filter(|line| line.starts_with("-- "));
        let is_own = self.dialect == Dialect::Postgres
            && (facts.normal_form.contains("larder_plan") || comments.into_iter().any(|it| counted.text.contains(it)));
        asks || asks_who || is_own
    }
}

/// Sums.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    calls: f64,
    time: Duration,
}

impl Figures {
    fn add(&mut self, counted: &Counted) {
        self.calls += counted.calls;
        self.time += counted.time;
    }
}

/// What Larder would do with a statement.
enum Verdict {
    Kept {
        /// Under a scope only.
        scoped: bool,
        /// Where it is known over what time calls were counted.
        saved: Option<Duration>,
        /// Per second.
        writes: Option<f64>,
    },
    Not {
        why: String,
        reason: &'static str,
    },
    Write,
    /// Neither read nor write.
    Other,
    /// Its text is not known as a whole.
    Unknown,
}

impl Verdict {
    /// The label of what keeps it from being kept.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Kept { .. } => None,
            Self::Not { reason, .. } => Some(reason),
            Self::Write => Some("write"),
            Self::Other => Some("other"),
            Self::Unknown => Some("cut_off"),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Kept { scoped: false, .. } => "kept".into(),
            Self::Kept { scoped: true, .. } => "kept under a scope, by pool.scoped(..)".into(),
            Self::Not { why, .. } => format!("not kept: {why}"),
            Self::Write => "a write".into(),
            Self::Other => "passed on: neither a read nor a write".into(),
            Self::Unknown => format!("unknown: {CUT}"),
        }
    }
}

const CUT: &str = "too long for the server's statistics, which cut it off: raise max_digest_length and performance_schema_max_digest_length";

struct Judged {
    counted: Counted,
    explanation: Explanation,
    verdict: Verdict,
    plan: Option<Planned>,
}

/// All of it.
struct Profile {
    statements: Vec<Judged>,
    all: Duration,
    kept: Duration,
    saved: Option<Duration>,
    writes: Duration,
    /// In statements whose end is missing.
    cut: Figures,
    /// What the server was asked about itself.
    own: Figures,
    unseen: Vec<Unseen>,
    gaps: Vec<String>,
    over: Result<Duration, &'static str>,
    ttl: Duration,
    is_planned: bool,
    /// Transactions that were begun by a statement.
    begun: f64,
}

impl Profile {
    /// A result lives until its time is over or one of its tables is written. With calls at a rate of c and such ends at a rate of e,
    /// one call of (c + e) / c loads it: the renewal of a cache by time to live, for calls and writes that come at random. That is for
    /// one set of parameters; each further one is loaded for itself.
    fn of(statements: Vec<(Counted, Explanation)>, over: Result<Duration, &'static str>, ttl: Duration) -> Self {
        let mut written: HashMap<&str, f64> = HashMap::new();
        let (mut everything, mut begun) = (0.0, 0.0);
        for (counted, explanation) in &statements {
            if explanation.facts.transaction == Some(TransactionControl::Begin) {
                begun += counted.calls;
            }
            match &explanation.writes {
                // Of what was cut off, the first word tells a read; any other may write anything.
                _ if counted.is_cut && begins_as_read(&counted.text) => {}
                _ if counted.is_cut => everything += counted.calls,
                Changes::Nothing => {}
                Changes::Tables(tables) => {
                    // A table may be written in two ways by one statement, but is dropped once.
                    let tables: BTreeSet<&str> = tables.iter().map(|table| &*table.table).collect();
                    tables.into_iter().for_each(|table| *written.entry(table).or_default() += counted.calls);
                }
                // What is not understood of what is no write at heart, such as BEGIN, is none.
                Changes::Everything(_) if explanation.facts.transaction.is_some() => {}
                Changes::Everything(_) => everything += counted.calls,
            }
        }
        let judge = |counted: &Counted, explanation: &Explanation| match (&explanation.writes, &explanation.reads) {
            _ if counted.is_cut => Verdict::Unknown,
            (Changes::Nothing, Ok(tables)) => {
                let tables: BTreeSet<&str> = tables.iter().map(|table| &*table.table).collect();
                let writes = tables.iter().filter_map(|table| written.get(table)).sum::<f64>() + everything;
                let over = over.ok().map(|over| over.as_secs_f64().max(1e-3));
                let saved = over.map(|seconds| {
                    let ends = writes + seconds / ttl.as_secs_f64().max(1e-3);
                    // Each end is loaded once at most, and the first call always.
                    let loads = (counted.calls * ends / (counted.calls + ends).max(1.0)).max(1.0).min(counted.calls);
                    counted.time.mul_f64(1.0 - loads / counted.calls.max(1.0))
                });
                let writes = over.map(|seconds| writes / seconds);
                Verdict::Kept { scoped: explanation.scope.is_some(), saved, writes }
            }
            _ if explanation.facts.kind == Kind::Write => Verdict::Write,
            _ if explanation.facts.kind == Kind::Other => Verdict::Other,
            (_, Ok(_)) => Verdict::Write,
            (_, Err(refusal)) => Verdict::Not { why: plain(&refusal.sentence), reason: refusal.reason.label() },
        };
        let verdicts: Vec<_> = statements.iter().map(|(counted, explanation)| judge(counted, explanation)).collect();
        let statements = statements.into_iter().zip(verdicts).map(|((mut counted, explanation), verdict)| {
            counted.sql = plain(&counted.sql);
            Judged { counted, explanation, verdict, plan: None }
        });
        let mut profile = Self {
            statements: statements.collect(),
            all: Duration::ZERO,
            kept: Duration::ZERO,
            saved: over.is_ok().then_some(Duration::ZERO),
            writes: Duration::ZERO,
            cut: Figures::default(),
            own: Figures::default(),
            unseen: Vec::new(),
            gaps: Vec::new(),
            over,
            ttl,
            is_planned: false,
            begun,
        };
        for Judged { counted, verdict, .. } in &profile.statements {
            profile.all += counted.time;
            match verdict {
                Verdict::Kept { saved, .. } => {
                    profile.kept += counted.time;
                    profile.saved = profile.saved.zip(*saved).map(|(all, saved)| all + saved);
                }
                Verdict::Write => profile.writes += counted.time,
                Verdict::Unknown => profile.cut.add(counted),
                Verdict::Not { .. } | Verdict::Other => {}
            }
        }
        profile
    }

    /// Asks for the plans of the heaviest plain reads.
    async fn plan(&mut self, url: &str, top: usize, is_mysql: bool) -> Result<(), Failure> {
        let plain =
            |judged: &&mut Judged| !judged.counted.is_cut && plans::is_plain_read(&judged.explanation, is_mysql);
        let mut heaviest: Vec<&mut Judged> = self.statements.iter_mut().filter(plain).take(top).collect();
        let bar = bar("Asking for plans", heaviest.len());
        let texts: Vec<&str> = heaviest.iter().map(|judged| &*judged.counted.text).collect();
        let planned = plans::plan(url, &texts, &bar).await?;
        bar.finish_and_clear();
        for (judged, plan) in heaviest.iter_mut().zip(planned) {
            judged.plan = Some(plan);
        }
        self.is_planned = true;
        Ok(())
    }

    fn planned(&self) -> impl Iterator<Item = (&Judged, &Planned)> {
        self.statements.iter().filter_map(|judged| judged.plan.as_ref().map(|plan| (judged, plan)))
    }

    fn share(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.all.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The reasons for which most time is not kept.
    fn reasons(&self) -> Vec<(&'static str, Duration, &str)> {
        let mut reasons: HashMap<&'static str, (Duration, &str)> = HashMap::new();
        for Judged { counted, verdict, .. } in &self.statements {
            if let Verdict::Not { why, reason } = verdict {
                reasons.entry(reason).or_insert((Duration::ZERO, why)).0 += counted.time;
            }
        }
        let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, (time, why))| (reason, time, why)).collect();
        reasons.sort_by_key(|(_, time, _)| std::cmp::Reverse(*time));
        reasons
    }

    fn summary(&self) -> String {
        let over = self.over.map_or_else(|_| String::new(), |over| format!(" within {}", rough(over)));
        let percent = |time| self.share(time) * 100.0;
        let cut = match self.cut.calls > 0.0 {
            true => format!(", {:.0} % unknown, in statements that were cut off", percent(self.cut.time)),
            false => String::new(),
        };
        let saved = match (self.saved, self.over) {
            (Some(saved), _) => format!("An estimated {:.0} % would be saved", percent(saved)),
            (None, Err(why)) => format!("How much would be saved is not known, since {why}"),
            (None, Ok(_)) => "How much would be saved is not known".into(),
        };
        format!(
            "{} of database time{over}: {:.0} % in reads that would be kept, {:.0} % in writes{cut}. {saved}, with results kept for {} \
             or until their tables are written.",
            rough(self.all),
            percent(self.kept),
            percent(self.writes),
            humantime::format_duration(self.ttl),
        )
    }

    /// What the figures do not show, a sentence each.
    fn blind_spots(&self) -> Vec<String> {
        let figures = |calls: f64, time: Duration, what: &str| format!("{calls:.0} calls, {}: {what}.", rough(time));
        let mut spots: Vec<String> =
            self.unseen.iter().map(|unseen| figures(unseen.calls, unseen.time, &unseen.why)).collect();
        if self.cut.calls > 0.0 {
            spots.push(figures(self.cut.calls, self.cut.time, CUT));
        }
        if self.own.calls > 0.0 {
            let what = "left out, since they only ask the server about itself, as Larder does too";
            spots.push(figures(self.own.calls, self.own.time, what));
        }
        match self.over {
            Ok(_) => {
                let begun = match self.begun {
                    begun if begun >= 1.0 => format!(" {begun:.0} transactions were begun."),
                    _ => String::new(),
                };
                spots.push(format!(
                    "The server does not tell which reads ran in transactions or on connections that were taken out: nothing of them would be \
                     kept, so that the estimate is an upper bound.{begun}"
                ));
            }
            Err(why) => spots.push(format!("No saving is told, since {why}.")),
        }
        spots.extend(self.gaps.iter().cloned());
        spots.iter().map(|spot| plain(spot)).collect()
    }

    fn row(&self, Judged { counted, verdict, .. }: &Judged) -> [String; 6] {
        let mean = counted.time.div_f64(counted.calls.max(1.0));
        let (saved, writes) = match verdict {
            Verdict::Kept { saved, writes, .. } => (
                saved.map_or_else(String::new, |saved| format!(": about {:.1} % saved", self.share(saved) * 100.0)),
                writes.map_or_else(|| "?".into(), |writes| format!("{writes:.2}")),
            ),
            _ => (String::new(), String::new()),
        };
        [
            format!("{:.1} %", self.share(counted.time) * 100.0),
            format!("{:.0}", counted.calls),
            format!("{:.3} ms", mean.as_secs_f64() * 1e3),
            writes,
            format!("{}{saved}", verdict.sentence()),
            shortened(&counted.sql),
        ]
    }

    fn table(&self, top: usize) -> Table {
        let mut table = Table::new();
        table.set_header(HEADINGS);
        for judged in self.statements.iter().take(top) {
            table.add_row(self.row(judged));
        }
        for column in table.column_iter_mut().take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// The statements that are not shown.
    fn left_off(&self, top: usize) -> Option<String> {
        document::left_off(self.statements.len().saturating_sub(top))
    }

    fn people(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        let (bold, good) = (Style::new().bold(), AnsiColor::Green.on_default().bold());
        if self.statements.is_empty() {
            writeln!(out, "{NOTHING}")?;
        } else {
            writeln!(out, "{good}{}{good:#}\n{ASSUMPTION}\n", self.summary())?;
            let mut table = self.table(top);
            let line = LineStyle::none().fill('─').junction('─');
            table.load_style(presets::NOTHING.header_separator(line));
            table.set_content_arrangement(ContentArrangement::Dynamic);
            if !table.is_tty() {
                table.set_width(PAPER);
            }
            writeln!(out, "{table}")?;
            if let Some(more) = self.left_off(top) {
                writeln!(out, "  {more}")?;
            }
        }
        let section = |out: &mut dyn Write, heading: &str, lines: Vec<String>| -> io::Result<()> {
            if !lines.is_empty() {
                writeln!(out, "\n{bold}{heading}{bold:#}")?;
            }
            lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
        };
        let reasons = self
            .reasons()
            .into_iter()
            .map(|(reason, time, why)| format!("{:>5.1} %  {reason}: such as: {why}", self.share(time) * 100.0));
        section(out, REASONS, reasons.collect())?;
        let plans = self.planned().flat_map(|(judged, plan)| {
            let details = told(plan).into_iter().map(|line| format!("  {line}"));
            std::iter::once(shortened(&judged.counted.sql)).chain(details)
        });
        section(out, PLANS, plans.collect())?;
        section(out, BLIND_SPOTS, self.blind_spots())?;
        writeln!(out, "\n`larder explain` has the details of a statement.")
    }

    fn markdown(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        let text = escaped;
        writeln!(out, "# What Larder would keep\n\n{}\n\n{}\n", text(&self.summary()), text(ASSUMPTION))?;
        writeln!(out, "| {} |\n|---:|---:|---:|---:|---|---|", HEADINGS.join(" | "))?;
        for judged in self.statements.iter().take(top) {
            writeln!(out, "| {} |", self.row(judged).map(|cell| text(&cell)).join(" | "))?;
        }
        if let Some(more) = self.left_off(top) {
            writeln!(out, "\n{more}")?;
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            writeln!(out, "\n## {REASONS}\n")?;
        }
        for (reason, time, why) in &reasons {
            writeln!(out, "- {:.1} % {}: such as: {}", self.share(*time) * 100.0, text(reason), text(why))?;
        }
        if self.is_planned {
            writeln!(out, "\n## {PLANS}\n")?;
        }
        for (judged, plan) in self.planned() {
            writeln!(out, "- {}", text(&shortened(&judged.counted.sql)))?;
            told(plan).iter().try_for_each(|line| writeln!(out, "  - {}", text(line)))?;
        }
        let spots = self.blind_spots();
        if !spots.is_empty() {
            writeln!(out, "\n## {BLIND_SPOTS}\n")?;
        }
        spots.iter().try_for_each(|spot| writeln!(out, "- {}", text(spot)))
    }

    fn html(&self, top: usize) -> String {
        let statements = self.statements.iter().map(|judged| {
            let [cells @ .., statement] = self.row(judged);
            cells.into_iter().map(text).chain([code(statement)]).collect()
        });
        let reasons = self.reasons().into_iter().map(|(reason, time, why)| {
            vec![text(format!("{:.1} %", self.share(time) * 100.0)), code(reason), text(why)]
        });
        let plans = self.planned().map(|(judged, plan)| {
            let said = told(plan).join(". ");
            vec![code(shortened(&judged.counted.sql)), text(said)]
        });
        let section = Section::new;
        let sections = [
            section("The heaviest statements", Body::Table(&HEADINGS, statements.collect())).at_most(top),
            section(REASONS, Body::Table(&["time", "reason", "such as"], reasons.collect())),
            section(PLANS, Body::Points(plans.collect())),
            section(BLIND_SPOTS, Body::Points(self.blind_spots().into_iter().map(|spot| vec![text(spot)]).collect())),
        ];
        let sections: Vec<Section> = sections.into_iter().filter(|section| !section.body.is_empty()).collect();
        let summary = match self.statements.is_empty() {
            true => vec![NOTHING.to_owned()],
            false => vec![self.summary(), ASSUMPTION.to_owned()],
        };
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        let end = format!("Larder {}, made at {now}. It shows no value.", env!("CARGO_PKG_VERSION"));
        Page {
            title: "What Larder would keep",
            summary: &summary,
            charts: html::heaviest(self.statements.iter().map(|judged| (&*judged.counted.sql, judged.counted.time))),
            sections: &sections,
            end: &end,
        }
        .html()
    }

    fn csv(&self, out: impl Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record([
            "seconds",
            "calls",
            "rows",
            "kept",
            "scoped",
            "reason",
            "sentence",
            "saved_seconds_estimate",
            "writes_per_second",
            "cost_estimate",
            "rows_estimate",
            "hints",
            "plan_error",
            "statement",
        ])?;
        let cell = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
        for Judged { counted, verdict, plan, .. } in &self.statements {
            let (scoped, saved, writes) = match verdict {
                Verdict::Kept { scoped, saved, writes } => (*scoped, saved.map(|saved| saved.as_secs_f64()), *writes),
                _ => (false, None, None),
            };
            let (cost, rows, hints, error) = match plan {
                Some(Ok(plan)) => (plan.cost, plan.rows, plan.hints.join("; "), ""),
                Some(Err(error)) => (None, None, String::new(), &**error),
                None => (None, None, String::new(), ""),
            };
            csv.write_record([
                &counted.time.as_secs_f64().to_string(),
                &counted.calls.to_string(),
                &counted.rows.to_string(),
                &verdict.reason().is_none().to_string(),
                &scoped.to_string(),
                verdict.reason().unwrap_or_default(),
                &verdict.sentence(),
                &cell(saved),
                &cell(writes),
                &cell(cost),
                &cell(rows),
                &hints,
                error,
                &counted.sql,
            ])?;
        }
        csv.flush()
    }

    fn json(&self) -> Value {
        let statements = self.statements.iter().map(|Judged { counted, verdict, plan, .. }| {
            let mut object = json!({
                "statement": counted.sql,
                "calls": counted.calls,
                "seconds": counted.time.as_secs_f64(),
                "rows": counted.rows,
                "kept": verdict.reason().is_none(),
                "sentence": verdict.sentence(),
            });
            match verdict {
                Verdict::Kept { scoped, saved, writes } => {
                    object["scoped"] = json!(scoped);
                    object["saved_seconds_estimate"] = json!(saved.map(|saved| saved.as_secs_f64()));
                    object["writes_per_second"] = json!(writes);
                }
                other => object["reason"] = json!(other.reason()),
            }
            match plan {
                None => {}
                Some(Err(error)) => object["plan"] = json!({ "error": error }),
                Some(Ok(plan)) => {
                    let (cost, rows, hints) = (plan.cost, plan.rows, &plan.hints);
                    object["plan"] = json!({ "cost_estimate": cost, "rows_estimate": rows, "hints": hints });
                }
            }
            object
        });
        let unseen = self.unseen.iter().map(
            |unseen| json!({ "calls": unseen.calls, "seconds": unseen.time.as_secs_f64(), "why": plain(&unseen.why) }),
        );
        json!({
            "seconds": self.all.as_secs_f64(),
            "counted_over_seconds": self.over.ok().map(|over| over.as_secs_f64()),
            "kept_seconds": self.kept.as_secs_f64(),
            "write_seconds": self.writes.as_secs_f64(),
            "cut_off_seconds": self.cut.time.as_secs_f64(),
            "saved_seconds_estimate": self.saved.map(|saved| saved.as_secs_f64()),
            "assumption": ASSUMPTION,
            "ttl_seconds": self.ttl.as_secs_f64(),
            "unseen": unseen.collect::<Vec<_>>(),
            "blind_spots": self.blind_spots(),
            "statements": statements.collect::<Vec<_>>(),
        })
    }
}

const HEADINGS: [&str; 6] = ["time", "calls", "mean", "writes/s", "with Larder", "statement"];
const NOTHING: &str = "The server has counted no statement of this database that could be looked at.";
const REASONS: &str = "Reads that would not be kept, by reason";
const PLANS: &str = "Plans of the heaviest reads, by EXPLAIN without running them";
const BLIND_SPOTS: &str = "Blind spots";

/// What there is to say of a plan, a line each.
fn told(plan: &Planned) -> Vec<String> {
    match plan {
        Err(error) => vec![format!("not explained: {error}")],
        Ok(plan) => {
            let figure = |figure: Option<f64>| figure.map_or_else(|| "?".into(), |figure| format!("{figure:.0}"));
            let estimate = format!("estimated cost {}, rows {}", figure(plan.cost), figure(plan.rows));
            std::iter::once(estimate).chain(plan.hints.iter().cloned()).collect()
        }
    }
}

/// Whether the first word is one that only reads. `WITH` may begin a write.
fn begins_as_read(sql: &str) -> bool {
    let first = sql.trim_start_matches(|c: char| c == '(' || c.is_whitespace());
    let first = first.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    ["select", "show", "explain", "describe", "table"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// As much of a statement as a line has room for.
fn shortened(text: &str) -> String {
    wording::shortened(text, 200)
}

/// To the millisecond below a second, to the second above.
fn rough(time: Duration) -> String {
    let time = match time.as_secs() {
        0 if !time.is_zero() && time < Duration::from_millis(1) => return "under 1ms".into(),
        0 => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or_default()),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str, is_cut: bool, calls: f64) -> (Counted, Explanation) {
        let facts = crate::analysis::analyze(sql, Dialect::MySql);
        let writes = match facts.kind {
            Kind::Read => Changes::Nothing,
            _ => Changes::Everything("unknown".into()),
        };
        let (text, time) = (sql.to_owned(), Duration::from_secs(1));
        let counted = Counted { sql: text.clone(), text, is_cut, calls, time, rows: 1.0 };
        (counted, Explanation { facts, reads: Ok(Vec::new()), scope: None, writes })
    }

    #[test]
    fn no_saving_is_claimed_where_the_time_is_not_known() {
        let why = "the server does not tell";
        let profile = Profile::of(vec![one("SELECT a FROM t", false, 100.0)], Err(why), Duration::from_secs(10));
        assert!(profile.summary().contains("not known, since the server does not tell"), "{}", profile.summary());
        let json = profile.json();
        assert_eq!((&json["saved_seconds_estimate"], &json["kept_seconds"]), (&Value::Null, &json!(1.0)));
        assert_eq!(json["statements"][0]["saved_seconds_estimate"], Value::Null);
        assert!(profile.blind_spots()[0].contains(why), "{:?}", profile.blind_spots());
    }

    #[test]
    fn what_was_cut_off_is_unknown_and_a_read_of_it_no_write() {
        let over = Ok(Duration::from_secs(100));
        let writes = |cut: &str| {
            let statements = vec![one("SELECT a FROM t", false, 100.0), one(cut, true, 50.0)];
            let profile = Profile::of(statements, over, Duration::from_secs(10));
            assert!(matches!(profile.statements[1].verdict, Verdict::Unknown), "{cut}");
            profile.json()["statements"][0]["writes_per_second"].as_f64()
        };
        assert_eq!(writes("SELECT b FROM t WHERE"), Some(0.0));
        assert_eq!(writes("( SELECT b FROM t ) UNION"), Some(0.0));
        assert_eq!(writes("WITH a AS ("), Some(0.5));
        assert_eq!(writes("UPDATE t SET"), Some(0.5));
    }

    #[test]
    fn markdown_shows_a_text_as_it_is() {
        assert_eq!(escaped("a|b *c* <d> `e`\n\u{1b}[f]"), r"a\|b \*c\* \<d\> \`e\`  \[f\]");
    }
}
