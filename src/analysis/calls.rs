//! What a call of a function, or a cast to a date, means for caching.

use sqlparser::ast::{BinaryOperator, Expr, FunctionArg, FunctionArguments, ObjectNamePart, UnaryOperator, Value};

use super::dates::is_fixed_time_value;
use super::facts::{Dialect, SessionEffect, Writes};
use super::fold::fold;
use super::functions::{self, Class};
use super::types::{self, TypeClass};
use super::verdict::Findings;
use super::walk::argument;
use super::words::niladic;
use crate::reason::Reason;

/// Whether the word calls a function without parentheses.
pub(super) fn is_niladic(word: &str, dialect: Dialect) -> bool {
    niladic(dialect).iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Judges a call by the folded name of the function, outermost part first.
pub(super) fn judge(name: &[String], arguments: &[FunctionArg], dialect: Dialect, found: &mut Findings) {
    let Some(last) = name.last() else { return };
    found.mentions.functions.insert(last.clone());
    match functions::classify(name, arguments.len(), dialect) {
        Class::Cacheable => {}
        Class::Harmless => {
            found.refuse(Reason::VolatileFunction, format!("{last}() may change its answer while no table changes."))
        }
        Class::Dates => dates(last, arguments, dialect, found),
        Class::Session => {
            found.refuse(Reason::VolatileFunction, format!("{last}() changes settings of the session."));
            found.session(SessionEffect::Changes);
        }
        Class::Unknown => {
            found.mentions.unknown.insert(last.clone());
            let name = super::name::Name::new(name);
            found.refuse(
                Reason::UnknownFunction,
                format!("{name}() is not a built-in function that is known to depend on its arguments alone."),
            );
            found.writes = Writes::Everything;
            found.session(SessionEffect::MayChange);
        }
    }
}

/// Postgres takes `(x).f` for `f(x)` unless `x` is a row with a field of that name, which the text does not tell.
/// `operand` is `x` where it is known.
pub(super) fn attribute(name: &str, operand: Option<&Expr>, dialect: Dialect, found: &mut Findings) {
    // Built-in functions that are on no list because they may do anything.
    const BUILT_IN: &[&str] = &["amvalidate", "binary_upgrade_", "brin_", "gin_", "lo_", "pg_", "ts_stat"];
    if dialect != Dialect::Postgres {
        return;
    }
    found.mentions.functions.insert(name.to_owned());
    match functions::classify(&[name.to_owned()], 1, dialect) {
        // The catalog knows whether a user defined one.
        Class::Unknown if !BUILT_IN.iter().any(|prefix| name.starts_with(prefix)) => {}
        Class::Cacheable | Class::Dates => {}
        Class::Harmless | Class::Session | Class::Unknown => return judge(&[name.to_owned()], &[], dialect, found),
    }
    match (types::by_name(name), operand) {
        (TypeClass::Clock, Some(operand)) => date_cast(operand, dialect, found),
        (TypeClass::Clock, None) => refuse_cast(found),
        (TypeClass::Today, _) => refuse_today(found),
        (TypeClass::Catalog, _) => {
            found.refuse(Reason::System, format!("The type {name} looks names up in the system catalog."));
        }
        (TypeClass::Plain | TypeClass::Unknown, _) => {}
    }
}

/// Functions that read the clock, depending on their arguments.
fn dates(function: &str, arguments: &[FunctionArg], dialect: Dialect, found: &mut Findings) {
    let given: Vec<Option<&Expr>> = arguments.iter().map(argument).collect();
    match dialect {
        Dialect::Postgres if function == "timetz" => refuse_today(found),
        Dialect::Postgres => given.into_iter().flatten().for_each(|operand| date_cast(operand, dialect, found)),
        Dialect::Sqlite => {
            let values = match function {
                "strftime" => given.get(1..2),
                "timediff" => given.get(0..2),
                _ => given.get(0..1),
            };
            match values {
                None => found
                    .refuse(Reason::VolatileFunction, format!("{function}() without a time value reads the clock.")),
                Some(values) => values.iter().for_each(|value| sqlite_time_value(function, *value, found)),
            }
        }
        Dialect::MySql if arguments.is_empty() => {
            found.refuse(Reason::VolatileFunction, format!("{function}() without arguments reads the clock."));
        }
        // Whether an argument is a time of day is asked where all that are met are looked at.
        Dialect::MySql => {}
    }
}

fn sqlite_time_value(function: &str, value: Option<&Expr>, found: &mut Findings) {
    match value.map(unwrapped) {
        Some(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(text) if is_fixed_time_value(text) => {}
            Value::Number(..) | Value::Null => {}
            Value::Placeholder(_) => found.clock_by_argument = true,
            _ => found.refuse(Reason::SpecialDate, format!("{function}() is given a text that means the present.")),
        },
        _ => found.refuse(
            Reason::SpecialDate,
            format!("{function}() of a value that may be the text 'now' reads the clock; substr() of the stored text does not."),
        ),
    }
}

/// A cast to a date or time, in Postgres from anything that may be a text.
pub(super) fn date_cast(operand: &Expr, dialect: Dialect, found: &mut Findings) {
    if dialect == Dialect::MySql {
        return;
    }
    let operand = unwrapped(operand);
    match operand {
        Expr::Value(value) => {
            if matches!(value.value, Value::Placeholder(_)) {
                found.clock_by_argument = true;
            }
        }
        Expr::Array(array) => array.elem.iter().for_each(|element| match unwrapped(element) {
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => found.clock_by_argument = true,
            Expr::Value(_) => {}
            element if is_date(element, dialect) => {}
            _ => refuse_cast(found),
        }),
        operand if is_date(operand, dialect) => {}
        _ => refuse_cast(found),
    }
}

/// Whether the text says that it is a time without a date, whose offset in a time zone depends on the day.
pub(super) fn is_time_of_day(expr: &Expr) -> bool {
    use sqlparser::ast::DataType;
    match unwrapped(expr) {
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Time(..)),
        Expr::TypedString(typed) => matches!(typed.data_type, DataType::Time(..)),
        _ => false,
    }
}

/// A cast to `time with time zone`.
pub(super) fn refuse_today(found: &mut Findings) {
    found.refuse(
        Reason::SpecialDate,
        "A time of day without an offset takes the one that its time zone has today; a time without time zone needs none.",
    );
}

/// MySQL makes a moment of a time of day by taking today's date.
pub(super) fn refuse_moment(found: &mut Findings) {
    found.refuse(
        Reason::SpecialDate,
        "A time of day takes today's date where it meets a date: let it be a result of its own, or compare in seconds.",
    );
}

fn refuse_cast(found: &mut Findings) {
    found.refuse(
        Reason::SpecialDate,
        "A cast to a date of what may be the text 'now' reads the clock; date_trunc() or extract() of a stored date does not.",
    );
}

fn unwrapped(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// Whether a Postgres expression is a date, time or number by its form, so that no text is turned into one.
fn is_date(expr: &Expr, dialect: Dialect) -> bool {
    match unwrapped(expr) {
        // Judged on its own.
        Expr::Cast { data_type, .. } => {
            matches!(types::classify(data_type, dialect), TypeClass::Clock | TypeClass::Today)
        }
        Expr::TypedString(_) | Expr::AtTimeZone { .. } | Expr::Extract { .. } => true,
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            let is_interval = |side: &Expr| matches!(unwrapped(side), Expr::Interval(_));
            is_interval(left) || is_interval(right)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => true,
        Expr::Function(function) => {
            const DATES: &[&str] = &[
                "clock_timestamp",
                "current_date",
                "current_time",
                "current_timestamp",
                "date",
                "date_bin",
                "date_trunc",
                "generate_series",
                "localtime",
                "localtimestamp",
                "make_date",
                "make_time",
                "make_timestamp",
                "make_timestamptz",
                "now",
                "statement_timestamp",
                "timezone",
                "to_date",
                "to_timestamp",
                "transaction_timestamp",
            ];
            let called = function.args != FunctionArguments::None || function.name.0.len() == 1;
            match function.name.0.last() {
                Some(ObjectNamePart::Identifier(ident)) => {
                    called && DATES.contains(&fold(&ident.value, ident.quote_style, dialect).as_str())
                }
                _ => false,
            }
        }
        _ => false,
    }
}
