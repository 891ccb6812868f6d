//! The columns of a result, and the SQL whose result has the same ones.
//!
//! In: columns of a row. Out: the tables that must exist, and statements for any number of rows.
//! It never names a thing of the database that is not in quotes.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use sqlx::sqlite::{SqliteColumn, SqliteTypeInfo};
use sqlx::{AssertSqlSafe, Column, ColumnOrigin, SqlSafeStr, SqlStr, Sqlite, Type, TypeInfo};

use crate::replay::Unfaithful;

/// Values bound to one statement at most. SQLite allows 32,766, but each costs memory in every statement kept prepared.
const MOST_VALUES: usize = 1024;

/// Up to as many rows, each number has its own statement.
const FEW: usize = 64;

/// The limit of SQLite itself, for a single wide row.
const MOST_COLUMNS: usize = 32_766;

/// Columns of a result: names, types, origins.
#[derive(Debug)]
pub struct Shape {
    /// Tells replay connections whether they have its tables. Never used twice in a process.
    pub(super) id: u64,
    columns: Vec<SqliteColumn>,
    pub(super) tables: Vec<Table>,
    /// The arm that yields no row, but names, types and origins.
    left_arm: String,
    /// Statements of 1, 2, 3, .. 64 rows, then 64, 128, 256, ..: not too many to stay prepared.
    statements: Vec<OnceLock<SqlStr>>,
}

/// A table that columns come from, with those of its columns.
#[derive(Debug)]
pub(super) struct Table {
    pub name: Arc<str>,
    pub columns: Vec<(Arc<str>, &'static str)>,
}

impl Shape {
    /// The shape of a result without rows, of which the columns are not known, nor needed.
    pub(super) fn empty() -> Self {
        Self { id: next_id(), columns: Vec::new(), tables: Vec::new(), left_arm: String::new(), statements: Vec::new() }
    }

    pub(super) fn new(columns: &[SqliteColumn]) -> Result<Self, Unfaithful> {
        if columns.is_empty() || columns.len() > MOST_COLUMNS {
            return Err(Unfaithful::because("the number of columns cannot be reproduced"));
        }
        let mut tables: Vec<Table> = Vec::new();
        let mut left_arm = String::from("SELECT ");
        for (i, column) in columns.iter().enumerate() {
            let declared = declared(column.type_info())?;
            let separator = if i == 0 { "" } else { ", " };
            let name = quoted(column.name());
            match column.origin() {
                ColumnOrigin::Table(origin) => {
                    if origin.table.len() >= 7 && origin.table.as_bytes()[..7].eq_ignore_ascii_case(b"sqlite_") {
                        return Err(Unfaithful::because("a column comes from a table of SQLite's own"));
                    }
                    let (table, source) = (quoted(&origin.table), quoted(&origin.name));
                    let _ = write!(left_arm, "{separator}{table}.{source} AS {name}");
                    add(&mut tables, origin.table, origin.name, declared)?;
                }
                ColumnOrigin::Expression if declared.is_empty() => {
                    let _ = write!(left_arm, "{separator}NULL AS {name}");
                }
                ColumnOrigin::Expression => {
                    return Err(Unfaithful::because("a column has a declared type but no table"));
                }
                ColumnOrigin::Unknown => return Err(Unfaithful::because("the origin of a column is not known")),
            }
        }
        for (i, table) in tables.iter().enumerate() {
            let separator = if i == 0 { " FROM " } else { ", " };
            let _ = write!(left_arm, "{separator}main.{}", quoted(&table.name));
        }
        left_arm.push_str(" WHERE 0");
        let statements = (0..FEW + (MOST_VALUES / FEW).ilog2() as usize + 1).map(|_| OnceLock::new()).collect();
        Ok(Self { id: next_id(), columns: columns.to_vec(), tables, left_arm, statements })
    }

    /// All that [`Shape::fits`] compares.
    pub(super) fn describe(&self) -> String {
        format!("{:?}", self.columns)
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Whether a result has these very columns.
    pub(super) fn fits(&self, columns: &[SqliteColumn]) -> bool {
        self.columns.len() == columns.len()
            && self.columns.iter().zip(columns).all(|(mine, other)| {
                mine.ordinal() == other.ordinal()
                    && mine.name() == other.name()
                    && mine.type_info() == other.type_info()
                    && same_origin(&mine.origin(), &other.origin())
            })
    }

    /// A statement for some of `rows` rows, and for how many.
    ///
    /// Rows that are few come in one round trip. A LIMIT could do that for any number, with room to spare, but SQLite then
    /// builds a table of the values, which takes several times as long.
    pub(super) fn statement(&self, rows: usize) -> (SqlStr, usize) {
        let rows = rows.min(self.most_rows());
        let (at, rows) = if rows <= FEW {
            (rows - 1, rows)
        } else {
            let step = rows.ilog2();
            (FEW + (step - FEW.ilog2()) as usize, 1 << step)
        };
        let sql = self.statements[at].get_or_init(|| {
            // Plain `?`: numbered ones are looked up by name, each in linear time.
            let row = format!("({})", vec!["?"; self.columns.len()].join(","));
            let values = vec![row; rows].join(",");
            AssertSqlSafe(Arc::<str>::from(format!("{} UNION ALL VALUES {values}", self.left_arm))).into_sql_str()
        });
        (sql.clone(), rows)
    }

    fn most_rows(&self) -> usize {
        (MOST_VALUES / self.columns.len()).max(1)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn same_origin(one: &ColumnOrigin, other: &ColumnOrigin) -> bool {
    match (one, other) {
        (ColumnOrigin::Table(one), ColumnOrigin::Table(other)) => one.table == other.table && one.name == other.name,
        (ColumnOrigin::Expression, ColumnOrigin::Expression) => true,
        _ => false,
    }
}

/// Adds a column to the tables. One and the same may be selected many times.
fn add(tables: &mut Vec<Table>, table: Arc<str>, column: Arc<str>, declared: &'static str) -> Result<(), Unfaithful> {
    let at = tables.iter().position(|known| known.name == table).unwrap_or_else(|| {
        tables.push(Table { name: table, columns: Vec::new() });
        tables.len() - 1
    });
    let columns = &mut tables[at].columns;
    match columns.iter().find(|(known, _)| *known == column) {
        Some((_, other)) if *other != declared => Err(Unfaithful::because("one column has two declared types")),
        Some(_) => Ok(()),
        None => {
            columns.push((column, declared));
            Ok(())
        }
    }
}

/// A declared type that sqlx reads as this type.
fn declared(info: &SqliteTypeInfo) -> Result<&'static str, Unfaithful> {
    Ok(match info.name() {
        // Both have one name; only equality tells them apart.
        "INTEGER" if *info == <i32 as Type<Sqlite>>::type_info() => "INT4",
        "INTEGER" => "INTEGER",
        "REAL" => "REAL",
        "TEXT" => "TEXT",
        "BLOB" => "BLOB",
        "BOOLEAN" => "BOOLEAN",
        "DATE" => "DATE",
        "TIME" => "TIME",
        "DATETIME" => "DATETIME",
        "NULL" => "",
        _ => return Err(Unfaithful::because("a column has an unknown type")),
    })
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
