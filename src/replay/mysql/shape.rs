//! Columns of a result, as a server describes them.
//!
//! In: columns of sqlx's. Out: the messages a server would describe them with, and how their values lie in a row.
//! It never guesses: a column that shows anything unexpected of itself is refused.

use sqlx::mysql::{MySqlColumn, MySqlTypeInfo};
use sqlx::{Column as _, ColumnOrigin};

use super::wire;
use crate::replay::Unfaithful;

/// How a value lies in a row of the binary protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// So many bytes.
    Fixed(u8),
    /// A length, and so many bytes.
    Prefixed,
    /// The first byte of the value tells how many follow.
    Temporal,
    /// Never there.
    Null,
}

impl Layout {
    /// Refuses a value that a column of this kind cannot have.
    pub fn check(self, value: Option<&[u8]>) -> Result<(), Unfaithful> {
        let fits = match (value, self) {
            (None, _) | (Some(_), Self::Prefixed) => true,
            (Some(bytes), Self::Fixed(length)) => bytes.len() == usize::from(length),
            (Some(bytes), Self::Temporal) => bytes.first().is_some_and(|rest| bytes.len() == 1 + usize::from(*rest)),
            (Some(_), Self::Null) => false,
        };
        if fits { Ok(()) } else { Err(Unfaithful::because("a value is not of the size that its column has")) }
    }
}

/// The types of columns: what sqlx shows, what a server sends, how values lie.
pub(super) const TYPES: &[(&str, u8, Layout)] = &[
    ("Decimal", 0x00, Layout::Prefixed),
    ("Tiny", 0x01, Layout::Fixed(1)),
    ("Short", 0x02, Layout::Fixed(2)),
    ("Long", 0x03, Layout::Fixed(4)),
    ("Float", 0x04, Layout::Fixed(4)),
    ("Double", 0x05, Layout::Fixed(8)),
    ("Null", 0x06, Layout::Null),
    ("Timestamp", 0x07, Layout::Temporal),
    ("LongLong", 0x08, Layout::Fixed(8)),
    ("Int24", 0x09, Layout::Fixed(4)),
    ("Date", 0x0a, Layout::Temporal),
    ("Time", 0x0b, Layout::Temporal),
    ("Datetime", 0x0c, Layout::Temporal),
    ("Year", 0x0d, Layout::Fixed(2)),
    ("VarChar", 0x0f, Layout::Prefixed),
    ("Bit", 0x10, Layout::Prefixed),
    ("Json", 0xf5, Layout::Prefixed),
    ("NewDecimal", 0xf6, Layout::Prefixed),
    ("Enum", 0xf7, Layout::Prefixed),
    ("Set", 0xf8, Layout::Prefixed),
    ("TinyBlob", 0xf9, Layout::Prefixed),
    ("MediumBlob", 0xfa, Layout::Prefixed),
    ("LongBlob", 0xfb, Layout::Prefixed),
    ("Blob", 0xfc, Layout::Prefixed),
    ("VarString", 0xfd, Layout::Prefixed),
    ("String", 0xfe, Layout::Prefixed),
    ("Geometry", 0xff, Layout::Prefixed),
];

/// The flags of columns: what sqlx shows, what a server sends. sqlx forgets the one that is missing, 0x4000.
pub(super) const FLAGS: &[(&str, u16)] = &[
    ("NOT_NULL", 0x0001),
    ("PRIMARY_KEY", 0x0002),
    ("UNIQUE_KEY", 0x0004),
    ("MULTIPLE_KEY", 0x0008),
    ("BLOB", 0x0010),
    ("UNSIGNED", 0x0020),
    ("ZEROFILL", 0x0040),
    ("BINARY", 0x0080),
    ("ENUM", 0x0100),
    ("AUTO_INCREMENT", 0x0200),
    ("TIMESTAMP", 0x0400),
    ("SET", 0x0800),
    ("NO_DEFAULT_VALUE", 0x1000),
    ("ON_UPDATE_NOW", 0x2000),
    ("NUM", 0x8000),
];

/// The type of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub code: u8,
    pub layout: Layout,
    pub flags: u16,
    pub collation: u16,
    pub max_size: u32,
}

impl Kind {
    /// Reads `MySqlTypeInfo { type: Long, flags: ColumnFlags(NOT_NULL | UNSIGNED), collation: Collation(63), max_size:
    /// Some(10) }`: sqlx shows it in no other way.
    fn read(debug: &str) -> Option<Self> {
        let rest = debug.strip_prefix("MySqlTypeInfo { type: ")?;
        let (name, rest) = rest.split_once(", flags: ColumnFlags(")?;
        let (flags, rest) = rest.split_once("), collation: Collation(")?;
        let (collation, rest) = rest.split_once("), max_size: Some(")?;
        let max_size = rest.strip_suffix(") }")?;
        let (_, code, layout) = *TYPES.iter().find(|(known, ..)| *known == name)?;
        let flags = if flags == "0x0" { Some(0) } else { read_flags(flags) }?;
        Some(Self { code, layout, flags, collation: collation.parse().ok()?, max_size: max_size.parse().ok()? })
    }
}

fn read_flags(names: &str) -> Option<u16> {
    names.split(" | ").try_fold(0, |flags, name| {
        let (_, flag) = FLAGS.iter().find(|(known, _)| *known == name)?;
        Some(flags | flag)
    })
}

/// One column: its name, and the table and name it has there if it comes from one.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub name: &'a str,
    pub table: &'a str,
    pub original: &'a str,
    pub kind: Kind,
}

/// Columns of a result, as a server describes them.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The messages that a result begins with: the number of columns, and each of them.
    pub(super) definitions: Box<[u8]>,
    pub(super) layouts: Box<[Layout]>,
}

impl Shape {
    /// That of a result without rows, of which sqlx shows no columns.
    pub fn empty() -> Self {
        Self { definitions: Box::default(), layouts: Box::default() }
    }

    /// The shape of rows with these columns.
    pub fn of(columns: &[MySqlColumn]) -> Result<Self, Unfaithful> {
        let origins: Vec<_> = columns.iter().map(sqlx::Column::origin).collect();
        let described = columns.iter().zip(&origins).map(|(column, origin)| {
            let (table, original) = match origin {
                ColumnOrigin::Table(origin) => (&*origin.table, &*origin.name),
                // Where there is no table, this name is used only if the other is empty: then it is empty as well.
                ColumnOrigin::Expression => ("", column.name()),
                ColumnOrigin::Unknown => return Err(unreadable()),
            };
            let kind = kind(column.type_info()).ok_or_else(unreadable)?;
            Ok(Column { name: column.name(), table, original, kind })
        });
        Self::new(&described.collect::<Result<Vec<_>, Unfaithful>>()?)
    }

    pub(super) fn new(columns: &[Column<'_>]) -> Result<Self, Unfaithful> {
        let mut definitions = Vec::new();
        // The length of the list is written as that of a text, which is never 0 here: that would say there is no result.
        if columns.is_empty() {
            return Err(Unfaithful::because("the rows have no columns"));
        }
        wire::message(&mut definitions, |out| {
            wire::length(out, columns.len());
            Ok(())
        })?;
        for column in columns {
            wire::message(&mut definitions, |out| {
                // sqlx keeps database and table joined by a dot, and leaves out what is empty: all of it is sent as the
                // table. The first name is that of the catalog, the third an alias of the table.
                for text in ["def", "", "", column.table, column.name, column.original] {
                    wire::text(out, text.as_bytes());
                }
                let kind = column.kind;
                out.push(0x0c);
                out.extend_from_slice(&kind.collation.to_le_bytes());
                out.extend_from_slice(&kind.max_size.to_le_bytes());
                out.push(kind.code);
                out.extend_from_slice(&kind.flags.to_le_bytes());
                // The number of decimals, which sqlx does not keep, and two unused bytes.
                out.extend_from_slice(&[0; 3]);
                Ok(())
            })?;
        }
        let layouts = columns.iter().map(|column| column.kind.layout).collect();
        Ok(Self { definitions: definitions.into(), layouts })
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.layouts.len()
    }
}

fn kind(info: &MySqlTypeInfo) -> Option<Kind> {
    Kind::read(&format!("{info:?}"))
}

fn unreadable() -> Unfaithful {
    Unfaithful::because("sqlx shows the type of a column in a way that is not known")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(debug: &str) -> Option<(u8, u16, u16, u32)> {
        Kind::read(debug).map(|kind| (kind.code, kind.flags, kind.collation, kind.max_size))
    }

    #[test]
    fn types_are_read_from_the_debug_text() {
        let text = |flags: &str| {
            format!(
                "MySqlTypeInfo {{ type: Long, flags: ColumnFlags({flags}), collation: Collation(63), max_size: Some(11) }}"
            )
        };
        assert_eq!(read(&text("0x0")), Some((3, 0, 63, 11)));
        assert_eq!(read(&text("NOT_NULL")), Some((3, 1, 63, 11)));
        assert_eq!(read(&text("NOT_NULL | NUM | UNSIGNED")), Some((3, 0x8021, 63, 11)));
        for flags in ["", "NOT_NULL|NUM", "NEW", "NOT_NULL | 0x4000", "0x4000"] {
            assert_eq!(read(&text(flags)), None, "{flags}");
        }
        let good = text("NUM");
        for (one, other) in [
            ("Long", "Longer"),
            ("63", "-1"),
            ("63", "65536"),
            ("Some(11)", "None"),
            ("11", "x"),
            (" }", ", more: 1 }"),
        ] {
            assert_eq!(read(&good.replace(one, other)), None, "{other}");
        }
    }

    /// A type that was not read out of a row has no size: sqlx shows it differently.
    #[test]
    fn types_of_arguments_are_not_those_of_columns() {
        assert!(kind(&<i32 as sqlx::Type<sqlx::MySql>>::type_info()).is_none());
    }

    #[test]
    fn values_are_held_against_the_layout() {
        let fits = |layout: Layout, bytes: &[u8]| layout.check(Some(bytes)).is_ok();
        assert!(fits(Layout::Fixed(2), b"ab") && !fits(Layout::Fixed(2), b"a") && !fits(Layout::Fixed(2), b"abc"));
        assert!(fits(Layout::Temporal, b"\0") && fits(Layout::Temporal, b"\x02ab"));
        assert!(!fits(Layout::Temporal, b"") && !fits(Layout::Temporal, b"\x02a") && !fits(Layout::Temporal, b"\0a"));
        assert!(fits(Layout::Prefixed, b"") && !fits(Layout::Null, b""));
        assert!(
            [Layout::Fixed(1), Layout::Prefixed, Layout::Temporal, Layout::Null].iter().all(|l| l.check(None).is_ok())
        );
    }
}
