//! What is known of a type that a statement casts to.

use sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectNamePart, TimezoneInfo};

use super::facts::Dialect;
use super::fold::fold;
use super::word_set::WordSet;

/// What a cast to a type may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeClass {
    /// On the value alone, or on settings of the session.
    Plain,
    /// Becomes a date or time, for which some texts mean the present.
    Clock,
    /// On the current day, if no offset is given: `time with time zone` takes the one that is in force today.
    Today,
    /// On the system catalog.
    Catalog,
    /// Not built in.
    Unknown,
}

/// Built-in types of Postgres that the parser knows by no variant of its own.
static POSTGRES_PLAIN: WordSet = WordSet::new(
    "
    bit bool box bpchar bytea char cid cidr circle float4 float8 inet int2 int2vector int4 int4multirange int4range int8
    int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8 money name numeric nummultirange
    numrange oid oidvector path pg_lsn pg_snapshot point polygon record text tid tsquery tsvector txid_snapshot uuid
    varbit varchar xid xid8 xml serial bigserial integer smallint bigint real decimal boolean character nchar
",
);
static POSTGRES_CLOCK: WordSet = WordSet::new(
    "
    date datemultirange daterange time timestamp timestamptz tsmultirange tsrange tstzmultirange tstzrange
",
);
static POSTGRES_CATALOG: WordSet = WordSet::new(
    "
    regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype
",
);

/// Says what a cast to `data_type` may depend on.
pub(super) fn classify(data_type: &DataType, dialect: Dialect) -> TypeClass {
    match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::Parenthesis(element)
            | ArrayElemTypeDef::Qualified(element, _),
        ) => classify(element, dialect),
        // Postgres has no type of this name; MySQL's CAST knows it.
        DataType::Datetime(_) if dialect == Dialect::Postgres => TypeClass::Unknown,
        DataType::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) if dialect == Dialect::Postgres => {
            TypeClass::Today
        }
        DataType::Date | DataType::Datetime(_) | DataType::Timestamp(..) | DataType::Time(..) => match dialect {
            Dialect::Postgres => TypeClass::Clock,
            // A TIME that becomes a date takes today's; the other way round nothing is added.
            Dialect::MySql if matches!(data_type, DataType::Time(..)) => TypeClass::Plain,
            Dialect::MySql => TypeClass::Clock,
            Dialect::Sqlite => TypeClass::Plain,
        },
        DataType::Regclass => TypeClass::Catalog,
        DataType::Custom(name, _) if dialect == Dialect::Postgres => {
            let parts: Vec<String> = name
                .0
                .iter()
                .filter_map(|part| match part {
                    ObjectNamePart::Identifier(ident) => Some(fold(&ident.value, ident.quote_style, dialect)),
                    ObjectNamePart::Function(_) => None,
                })
                .collect();
            match parts.as_slice() {
                [only] => by_name(only),
                [schema, last] if schema == "pg_catalog" => by_name(last),
                _ => TypeClass::Unknown,
            }
        }
        // The parser reads these as types of its own in every dialect; Postgres has none of that name.
        _ if dialect == Dialect::Postgres => {
            let written = data_type.to_string().to_ascii_lowercase();
            let first = written.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            match (first, by_name(first)) {
                ("double" | "dec" | "float" | "int" | "national", TypeClass::Unknown) => TypeClass::Plain,
                (_, class) => class,
            }
        }
        _ => TypeClass::Plain,
    }
}

/// A name that begins with an underscore is that of an array.
pub(super) fn by_name(name: &str) -> TypeClass {
    let element = name.strip_prefix('_').unwrap_or(name);
    if POSTGRES_PLAIN.contains(element) {
        TypeClass::Plain
    } else if element == "timetz" {
        TypeClass::Today
    } else if POSTGRES_CLOCK.contains(element) {
        TypeClass::Clock
    } else if POSTGRES_CATALOG.contains(element) {
        TypeClass::Catalog
    } else {
        TypeClass::Unknown
    }
}
