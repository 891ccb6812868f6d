//! Which policy goes for which query, and what is never kept.
//!
//! In: the facts of a read, the tables behind it, and what is known of the catalog. Out: a policy, or a refusal that names the
//! rule. It never lets a read pass that may touch what is never to be kept: names are compared without regard to case,
//! schema and quotes wherever a rule leaves them open.

use std::collections::BTreeMap;
use std::fmt;

use crate::analysis::{Facts, Fingerprint, Name};
use crate::catalog::{self, Gate, Reading, Table};
use crate::policy::Policy;
use crate::reason::{Reason, Refusal};

/// The policies of a pool. The narrower goes before the wider: fingerprint, tables, pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rules {
    /// For queries that nothing narrower is said of.
    pub pool: Policy,
    /// For queries that read a table, by its name as the user wrote it.
    pub tables: BTreeMap<TableName, Policy>,
    pub queries: BTreeMap<Fingerprint, Policy>,
    /// Tables whose rows are never kept.
    pub never_tables: Vec<TableName>,
    /// Columns that no kept result may show or depend on.
    pub never_columns: Vec<Column>,
}

/// The name of a table, or of tables that are called alike in several schemas, as a user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableName {
    text: String,
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// Reads `users`, `shop.users`, `"We.Ird"`.
    pub fn read(text: &str) -> Option<Self> {
        match catalog::name_parts(text)?.parts() {
            // It would stand for nothing, where everything was meant.
            [.., name] if name == "*" => None,
            [name] => Some(Self { text: text.trim().to_owned(), schema: None, name: name.clone() }),
            [schema, name] => {
                Some(Self { text: text.trim().to_owned(), schema: Some(schema.clone()), name: name.clone() })
            }
            _ => None,
        }
    }

    /// Whether it may mean this table.
    fn covers(&self, table: &Table, gate: &Gate) -> bool {
        let table = table.parts();
        let [schema, name] = table.parts() else { return true };
        gate.alike(&self.name, name) && self.schema.as_ref().is_none_or(|own| gate.alike(own, schema))
    }

    fn is_there(&self, gate: &Gate) -> bool {
        gate.has_alike(self.schema.as_deref(), &self.name)
    }

    /// Whether a statement may concern the tables of this name. Where there is none, what it stands for is not known, and to
    /// mention it is enough.
    fn concerns(&self, facts: &Facts, reading: &Reading, gate: &Gate) -> bool {
        let shown = reading.tables.keys().chain(&reading.views).chain(&reading.related);
        shown.into_iter().any(|table| self.covers(table, gate))
            || (mentions(facts, reading, &self.name, gate) && !self.is_there(gate))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A column of a table, or of every table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Column {
    text: String,
    /// None: every table.
    table: Option<TableName>,
    name: String,
}

impl Column {
    /// Reads `users.ssn`, `shop.users.ssn`, `*.ssn`.
    pub fn read(text: &str) -> Option<Self> {
        let name = catalog::name_parts(text)?;
        let (column, table) = name.parts().split_last()?;
        let table = match table {
            _ if column == "*" => return None,
            [any] if any == "*" => None,
            [.., last] if last != "*" && table.len() <= 2 => Some(TableName {
                text: Name::new(table).to_string(),
                schema: table.split_last()?.1.first().cloned(),
                name: last.clone(),
            }),
            _ => return None,
        };
        Some(Self { text: text.trim().to_owned(), table, name: column.clone() })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn mentions(facts: &Facts, reading: &Reading, name: &str, gate: &Gate) -> bool {
    facts.mentions.identifiers.iter().chain(&reading.identifiers).any(|mentioned| gate.alike(mentioned, name))
}

impl Rules {
    /// Lays other rules over these.
    pub fn lay(&mut self, other: Self) {
        self.pool = other.pool.over(&self.pool);
        for (name, policy) in other.tables {
            let wider = self.tables.remove(&name).unwrap_or_default();
            self.tables.insert(name, policy.over(&wider));
        }
        for (fingerprint, policy) in other.queries {
            let wider = self.queries.remove(&fingerprint).unwrap_or_default();
            self.queries.insert(fingerprint, policy.over(&wider));
        }
        self.never_tables.extend(other.never_tables);
        self.never_columns.extend(other.never_columns);
    }

    /// The policy for a query and the tables and views it reads, or why its results are never kept.
    pub fn policy(&self, facts: &Facts, reading: &Reading, gate: &Gate) -> Result<Policy, Refusal> {
        self.refuse(facts, reading, gate)?;
        let own = |table| self.tables.iter().filter(move |(name, _)| gate.table(&name.text).as_ref() == Some(table));
        let views = reading.views.iter().filter(|view| own(view).next().is_some());
        let policies = reading.tables.keys().chain(views).map(|table| {
            let own = own(table);
            own.map(|(_, policy)| policy.clone())
                .reduce(|one, other| one.strictest(&other))
                .map_or_else(|| self.pool.clone(), |policy| policy.over(&self.pool))
        });
        let wider = policies.reduce(|one, other| one.strictest(&other)).unwrap_or_else(|| self.pool.clone());
        let policy = match self.queries.get(&facts.fingerprint) {
            Some(narrower) => narrower.over(&wider),
            None => wider,
        };
        match policy.never {
            true => Err(Refusal::new(Reason::NeverCache, "A policy says that it is never to be kept.")),
            false => Ok(policy),
        }
    }

    fn refuse(&self, facts: &Facts, reading: &Reading, gate: &Gate) -> Result<(), Refusal> {
        let forbidden = self.tables.iter().filter(|(_, policy)| policy.never).map(|(name, _)| name);
        if let Some(name) = self.never_tables.iter().chain(forbidden).find(|name| name.concerns(facts, reading, gate)) {
            return Err(Refusal::new(Reason::NeverCache, format!("A rule says that the table {name} is never kept.")));
        }
        let concerning = self
            .never_columns
            .iter()
            .filter(|column| column.table.as_ref().is_none_or(|table| table.concerns(facts, reading, gate)));
        for column in concerning {
            let how = match facts.unnamed_columns || reading.unnamed_columns {
                _ if mentions(facts, reading, &column.name, gate) => "names it",
                true => "may read it without naming it (*, a row as a whole, NATURAL JOIN, ...)",
                false => continue,
            };
            let sentence = format!("A rule says that the column {column} is never kept, and the query {how}.");
            return Err(Refusal::new(Reason::NeverCache, sentence));
        }
        Ok(())
    }

    /// Tells the log of rules for tables that are not there. They may be made later.
    pub fn warn_of_absent(&self, gate: &Gate) {
        let columns = self.never_columns.iter().filter_map(|column| column.table.as_ref());
        let absent = self.never_tables.iter().chain(columns).filter(|name| !name.is_there(gate));
        let unreadable = self.tables.keys().filter(|name| gate.table(&name.text).is_none());
        for name in unreadable.chain(absent) {
            tracing::warn!(target: "larder::config", table = %name, "a rule is about what is no table here, or none that could be kept");
        }
    }
}
