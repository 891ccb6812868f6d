//! Walks the syntax tree of a query or of a data-modifying statement.
//!
//! The parser's derived visitor reaches every node, also those in corners that a hand-written walk forgets (LIMIT, FILTER,
//! window frames, ON CONFLICT). What a node means is decided here: which names are tables and which are WITH queries, what
//! is read and what is written, and what objects to caching.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    JsonTableColumn, ObjectName, ObjectNamePart, Query, Select, SelectFlavor, SelectInto, SelectItem, SetExpr,
    Statement, TableFactor, Value, ValueWithSpan, Visit, Visitor, XmlTableColumnOption,
};

use super::calls;
use super::columns::Sources;
use super::combined::PassedOn;
use super::facts::{Dialect, Kind, SessionEffect, Writes};
use super::fold::fold;
use super::name::Name;
use super::scope::{Meaning, Scopes};
use super::targets;
use super::types::{self, TypeClass};
use super::verbs::Verbs;
use super::verdict::Findings;
use super::words::{is_reserved, is_reserved_for_functions};
use crate::reason::Reason;

/// Adds what `statement` reads, writes and uses to `found`; returns every name that it took for a relation, a WITH query
/// or a function, so that another pair of eyes can look for one that is missing, and what it takes rows from.
pub(super) fn walk(
    statement: &Statement,
    dialect: Dialect,
    passed: &PassedOn,
    found: &mut Findings,
) -> (HashSet<String>, Sources) {
    let mut walk = Walk {
        dialect,
        passed,
        found,
        scopes: Scopes::default(),
        labels: HashSet::new(),
        done: HashSet::new(),
        seen: HashSet::new(),
        sources: Sources::default(),
    };
    // The walk never breaks off.
    let _ = statement.visit(&mut walk);
    (walk.seen, walk.sources)
}

pub(super) struct Walk<'a> {
    pub(super) dialect: Dialect,
    passed: &'a PassedOn,
    pub(super) found: &'a mut Findings,
    scopes: Scopes,
    /// Identifiers that may be reserved words where they stand: labels, parts after a dot, names of functions.
    labels: HashSet<*const Ident>,
    /// Relations that were dealt with when their parent was met.
    done: HashSet<*const ObjectName>,
    seen: HashSet<String>,
    sources: Sources,
}

impl Walk<'_> {
    pub(super) fn fold(&self, ident: &Ident) -> String {
        fold(&ident.value, ident.quote_style, self.dialect)
    }

    /// The folded parts of a name, or none if it holds anything but identifiers.
    pub(super) fn parts(&self, name: &ObjectName) -> Option<Vec<String>> {
        name.0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => Some(self.fold(ident)),
                ObjectNamePart::Function(_) => None,
            })
            .collect()
    }

    /// Notes that a table is written, under its own name whatever WITH queries there are.
    pub(super) fn writes(&mut self, name: &ObjectName, verbs: Verbs) {
        self.done.insert(name);
        self.allow_after_dot(name);
        match self.parts(name) {
            Some(parts) if (1..=3).contains(&parts.len()) => {
                self.seen.extend(parts.last().cloned());
                self.found.write_by(Name::new(parts), verbs);
            }
            _ => self.found.not_understood("The name of the table it writes could not be read."),
        }
    }

    /// Notes that the name is not a relation, or was dealt with.
    pub(super) fn is_done(&mut self, name: &ObjectName) {
        self.done.insert(name);
        self.seen.extend(self.parts(name).and_then(|parts| parts.last().cloned()));
    }

    pub(super) fn label(&mut self, ident: &Ident) {
        self.labels.insert(ident);
    }

    fn allow_after_dot(&mut self, name: &ObjectName) {
        for part in name.0.iter().skip(1) {
            if let ObjectNamePart::Identifier(ident) = part {
                self.labels.insert(ident);
            }
        }
    }

    fn reads(&mut self, name: &ObjectName) {
        self.allow_after_dot(name);
        let Some(parts) = self.parts(name).filter(|parts| parts.len() <= 3) else {
            self.found.not_understood("The name of a table could not be read.");
            return;
        };
        self.seen.extend(parts.last().cloned());
        if let [only] = parts.as_slice() {
            if self.dialect == Dialect::MySql
                && only.eq_ignore_ascii_case("dual")
                && let Some(ObjectNamePart::Identifier(ident)) = name.0.first()
                && ident.quote_style.is_none()
            {
                self.labels.insert(ident);
                return;
            }
            if self.scopes.meaning(only, self.dialect) == Meaning::WithQuery {
                return;
            }
        }
        self.objections_to(&parts);
        self.found.read(Name::new(parts));
    }

    /// System catalogs and temporary schemas.
    fn objections_to(&mut self, parts: &[String]) {
        let lower = |part: &String| part.to_ascii_lowercase();
        let (schema, relation) = match parts {
            [.., schema, relation] => (lower(schema), lower(relation)),
            [relation] => (String::new(), lower(relation)),
            [] => return,
        };
        let is_system = match self.dialect {
            Dialect::Postgres => {
                matches!(schema.as_str(), "pg_catalog" | "information_schema" | "pg_toast")
                    || (schema.is_empty() && relation.starts_with("pg_"))
            }
            Dialect::MySql => matches!(schema.as_str(), "mysql" | "information_schema" | "performance_schema" | "sys"),
            Dialect::Sqlite => {
                relation.starts_with("sqlite_") || relation.starts_with("pragma_") || relation == "dbstat"
            }
        };
        let is_temporary = match self.dialect {
            Dialect::Postgres => schema.starts_with("pg_temp") || schema.starts_with("pg_toast_temp"),
            Dialect::MySql => false,
            Dialect::Sqlite => schema == "temp",
        };
        if is_system {
            self.found.refuse(
                Reason::System,
                format!("{} belongs to the system catalog, which changes unseen.", Name::new(parts)),
            );
        }
        if is_temporary {
            self.found
                .refuse(Reason::Temporary, format!("{} is temporary and belongs to one connection.", Name::new(parts)));
        }
    }

    /// A call of a function, wherever it stands.
    fn call(&mut self, name: &ObjectName, arguments: &[FunctionArg]) {
        for part in &name.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                if ident.quote_style.is_none()
                    && name.0.len() == 1
                    && is_reserved_for_functions(&ident.value, self.dialect)
                    && !calls::is_niladic(&ident.value, self.dialect)
                {
                    self.found.not_understood(format!("{} is a reserved word, not a function.", ident.value));
                }
                self.labels.insert(ident);
            }
        }
        let Some(parts) = self.parts(name) else {
            self.found.not_understood("The name of a function could not be read.");
            self.found.writes = Writes::Everything;
            return;
        };
        self.seen.extend(parts.last().cloned());
        calls::judge(&parts, arguments, self.dialect, self.found);
    }

    fn function(&mut self, function: &Function) {
        match &function.args {
            FunctionArguments::None => self.call(&function.name, &[]),
            FunctionArguments::List(list) => {
                self.call(&function.name, &list.args);
                for clause in &list.clauses {
                    if let FunctionArgumentClause::JsonReturningClause(returning) = clause {
                        self.column_type(&returning.data_type);
                    }
                }
            }
            // `ARRAY(SELECT ...)` is syntax.
            FunctionArguments::Subquery(_) => match self.parts(&function.name).as_deref() {
                Some([only]) if only == "array" && self.dialect == Dialect::Postgres => {
                    for part in &function.name.0 {
                        if let ObjectNamePart::Identifier(ident) = part {
                            self.labels.insert(ident);
                        }
                    }
                }
                _ => self.call(&function.name, &[]),
            },
        }
        if function.parameters != FunctionArguments::None {
            self.found.not_understood("A call has two lists of arguments.");
        }
    }

    fn cast(&mut self, operand: Option<&Expr>, data_type: &sqlparser::ast::DataType) {
        match types::classify(data_type, self.dialect) {
            TypeClass::Plain => {}
            TypeClass::Clock => {
                if let Some(operand) = operand {
                    calls::date_cast(operand, self.dialect, self.found);
                }
            }
            TypeClass::Today => calls::refuse_today(self.found),
            TypeClass::Catalog => {
                self.found.refuse(Reason::System, format!("The type {data_type} looks names up in the system catalog."))
            }
            TypeClass::Unknown => {
                self.found.refuse(Reason::UnknownType, format!("The type {data_type} is not known to be built in."))
            }
        }
    }

    fn into(&mut self, into: &SelectInto) {
        for target in &into.targets {
            let name: Option<Vec<String>> = match target {
                Expr::Identifier(ident) => Some(vec![self.fold(ident)]),
                Expr::CompoundIdentifier(idents) => Some(idents.iter().map(|ident| self.fold(ident)).collect()),
                _ => None,
            };
            match name {
                Some(parts) if self.dialect == Dialect::Postgres => {
                    self.seen.extend(parts.last().cloned());
                    self.found.kind = Kind::Write;
                    self.found.write(Name::new(parts));
                    self.found.schema_change = true;
                    if into.temporary {
                        self.found.session(SessionEffect::Changes);
                    }
                }
                Some(parts) if parts.first().is_some_and(|part| part.starts_with('@')) => {
                    self.seen.extend(parts.last().cloned());
                    self.found.refuse(Reason::Variable, "It sets a user variable.");
                    self.found.session(SessionEffect::Changes);
                }
                _ => {
                    self.found.not_understood("The target of INTO could not be read.");
                    self.found.writes = Writes::Everything;
                }
            }
        }
    }

    /// Notes what rows come from, and under which names.
    fn source(&mut self, factor: &TableFactor) {
        let (alias, of_table) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                match self.parts(name).as_deref() {
                    Some([.., table]) => self.sources.table(table),
                    _ => self.sources.spread(),
                }
                (alias, true)
            }
            TableFactor::NestedJoin { alias, .. } => (alias, true),
            // Their rows are made of what stands in them.
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::JsonTable { alias, .. }
            | TableFactor::XmlTable { alias, .. } => (alias, false),
            _ => return self.sources.spread(),
        };
        let Some(alias) = alias else { return };
        let name = self.fold(&alias.name);
        match of_table {
            true if !alias.columns.is_empty() => self.sources.spread(),
            true => self.sources.table(&name),
            false => self.sources.note(&name),
        }
    }

    /// `TABLE t`, which is rewritten before parsing; one that is left was not understood.
    fn set_operations(&mut self, query: &Query) {
        let mut pending = vec![query.body.as_ref()];
        while let Some(body) = pending.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => pending.extend([left.as_ref(), right.as_ref()]),
                SetExpr::Table(_) => self.found.not_understood("TABLE stands where it is not expected."),
                // Visited on their own.
                SetExpr::Select(_)
                | SetExpr::Query(_)
                | SetExpr::Values(_)
                | SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_)
                | SetExpr::Merge(_) => {}
            }
        }
    }

    fn foreign(&mut self, clause: &str) {
        self.found.not_understood(format!("{clause} is not part of this dialect."));
    }
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Query(_) => {}
            Statement::Insert(insert) => targets::insert(self, insert),
            Statement::Update(update) => targets::update(self, update),
            Statement::Delete(delete) => targets::delete(self, delete),
            Statement::Merge(merge) => targets::merge(self, merge),
            _ => {
                self.found.not_understood("It is another statement than it begins like.");
                self.found.writes = Writes::Everything;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.enter(query, self.dialect);
        let Query {
            with,
            body: _,
            order_by: _,
            limit_clause: _,
            fetch: _,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        for cte in with.iter().flat_map(|with| &with.cte_tables) {
            let name = self.fold(&cte.alias.name);
            self.sources.note(&name);
            self.seen.insert(name);
        }
        if !locks.is_empty() {
            self.found.refuse(Reason::Locks, "It locks rows.");
        }
        if for_clause.is_some() || settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            self.foreign("A clause after the query");
        }
        self.set_operations(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let Select {
            select_token: _,
            optimizer_hints: _,
            distinct: _,
            // Looked for among the tokens.
            select_modifiers: _,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by: _,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        for item in projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => self.label(alias),
                SelectItem::ExprWithAliases { .. } => self.foreign("A list of aliases"),
                SelectItem::UnnamedExpr(_) => {}
                SelectItem::QualifiedWildcard(..) => self.sources.asterisk(),
                SelectItem::Wildcard(options) => {
                    self.sources.asterisk();
                    let foreign = options.opt_ilike.is_some()
                        || options.opt_exclude.is_some()
                        || options.opt_except.is_some()
                        || options.opt_replace.is_some()
                        || options.opt_rename.is_some()
                        || options.opt_alias.is_some();
                    if foreign {
                        self.foreign("What follows the asterisk");
                    }
                }
            }
        }
        if let Some(into) = into {
            self.into(into);
        }
        let foreign = top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || qualify.is_some()
            || value_table_mode.is_some()
            || *flavor != SelectFlavor::Standard;
        if foreign {
            self.foreign("A clause of the SELECT");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let address: *const ObjectName = name;
        if !self.done.contains(&address) {
            self.reads(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.source(factor);
        match factor {
            TableFactor::Table {
                name,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality: _,
                partitions: _,
                json_path,
                sample,
                index_hints: _,
            } => {
                if let Some(args) = args {
                    self.is_done(name);
                    let parts = self.parts(name).unwrap_or_default();
                    if self.dialect == Dialect::Sqlite && parts.last().is_some_and(|last| last.starts_with("pragma_")) {
                        self.objections_to(&parts);
                    } else {
                        self.call(name, &args.args);
                    }
                    if args.settings.is_some() {
                        self.foreign("SETTINGS");
                    }
                }
                if sample.is_some() {
                    self.found.refuse(Reason::Sample, "TABLESAMPLE picks rows by chance.");
                }
                if !with_hints.is_empty() || json_path.is_some() {
                    self.foreign("What follows the name of a table");
                }
                if version.is_some() {
                    self.found.not_understood("It reads an older version of a table.");
                }
            }
            TableFactor::Derived { sample, .. } => {
                if sample.is_some() {
                    self.found.refuse(Reason::Sample, "TABLESAMPLE picks rows by chance.");
                }
            }
            TableFactor::Function { name, args, .. } => self.call(name, args),
            TableFactor::JsonTable { columns, .. } => {
                self.syntax("json_table");
                self.json_columns(columns);
            }
            TableFactor::XmlTable { columns, .. } => {
                self.syntax("xmltable");
                for column in columns {
                    match &column.option {
                        XmlTableColumnOption::NamedInfo { r#type, .. } => self.column_type(r#type),
                        XmlTableColumnOption::ForOrdinality => {}
                    }
                }
            }
            TableFactor::UNNEST { .. } => self.syntax("unnest"),
            // Visited on their own: the tables in them, and the functions.
            TableFactor::NestedJoin { .. } | TableFactor::TableFunction { .. } => {}
            TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::SemanticView { .. } => self.foreign("A source of rows"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> ControlFlow<()> {
        let address: *const Ident = ident;
        // Judged where all such words are.
        let judged = self.dialect == Dialect::MySql && calls::is_niladic(&ident.value, self.dialect);
        let named = ident.quote_style.is_some() || self.labels.contains(&address);
        let known = named || judged || ident.value.eq_ignore_ascii_case("default");
        if !known && is_reserved(&ident.value, self.dialect) {
            self.found.not_understood(format!(
                "The reserved word {} stands where a name was expected.",
                ident.value.to_uppercase()
            ));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.expression(expr);
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        match &value.value {
            Value::Number(..)
            | Value::SingleQuotedString(_)
            | Value::DollarQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::SingleQuotedByteStringLiteral(_)
            | Value::NationalStringLiteral(_)
            | Value::HexStringLiteral(_)
            | Value::DoubleQuotedString(_)
            | Value::Boolean(_)
            | Value::Null
            | Value::Placeholder(_) => {}
            Value::TripleSingleQuotedString(_)
            | Value::TripleDoubleQuotedString(_)
            | Value::DoubleQuotedByteStringLiteral(_)
            | Value::TripleSingleQuotedByteStringLiteral(_)
            | Value::TripleDoubleQuotedByteStringLiteral(_)
            | Value::SingleQuotedRawStringLiteral(_)
            | Value::DoubleQuotedRawStringLiteral(_)
            | Value::TripleSingleQuotedRawStringLiteral(_)
            | Value::TripleDoubleQuotedRawStringLiteral(_)
            | Value::QuoteDelimitedStringLiteral(_)
            | Value::NationalQuoteDelimitedStringLiteral(_) => self.foreign("A literal"),
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn expression(&mut self, expr: &Expr) {
        if self.dialect == Dialect::MySql && self.passed.makes_time_of_day(expr) {
            calls::refuse_moment(self.found);
        }
        match expr {
            Expr::Function(function) => self.function(function),
            Expr::Cast { expr, data_type, format, .. } => {
                if format.is_some() {
                    self.foreign("FORMAT in a cast");
                }
                self.cast(Some(expr), data_type);
            }
            Expr::Convert { expr, data_type, .. } => {
                self.builtin("convert");
                if let Some(data_type) = data_type {
                    self.cast(Some(expr), data_type);
                }
            }
            // The literal is looked at where all literals are.
            Expr::TypedString(typed) => self.cast(None, &typed.data_type),
            Expr::CompoundIdentifier(idents) => idents.iter().skip(1).for_each(|ident| self.label(ident)),
            Expr::CompoundFieldAccess { root, access_chain } => {
                for (at, access) in access_chain.iter().enumerate() {
                    match access {
                        AccessExpr::Dot(Expr::Identifier(ident)) => {
                            self.label(ident);
                            calls::attribute(&self.fold(ident), (at == 0).then_some(root), self.dialect, self.found);
                        }
                        AccessExpr::Dot(Expr::Function(_)) => self.foreign("A call of a method"),
                        AccessExpr::Dot(_) | AccessExpr::Subscript(_) => {}
                    }
                }
            }
            Expr::Prefixed { prefix, .. } => self.label(prefix),
            Expr::Extract { .. } => self.builtin("extract"),
            Expr::Ceil { .. } => self.builtin("ceil"),
            Expr::Floor { .. } => self.builtin("floor"),
            Expr::Position { .. } => self.builtin("position"),
            Expr::Substring { .. } => self.builtin("substring"),
            Expr::Trim { trim_where, .. } => {
                for name in if trim_where.is_some() { ["ltrim", "rtrim", "btrim"] } else { ["btrim", "trim", "btrim"] } {
                    self.builtin(name);
                }
            }
            Expr::Overlay { .. } => self.builtin("overlay"),
            Expr::AtTimeZone { timestamp, .. } => {
                self.builtin("timezone");
                if calls::is_time_of_day(timestamp) {
                    calls::refuse_today(self.found);
                }
            }
            Expr::IsNormalized { .. } => self.builtin("is_normalized"),
            Expr::SimilarTo { .. } => self.builtin("similar_to_escape"),
            Expr::Like { escape_char, .. } | Expr::ILike { escape_char, .. } => {
                if escape_char.is_some() && self.dialect == Dialect::Postgres {
                    self.builtin("like_escape");
                }
            }
            Expr::MatchAgainst { .. } | Expr::RLike { .. } | Expr::MemberOf(_) => {
                if self.dialect == Dialect::Postgres {
                    self.foreign("An operator");
                }
            }
            Expr::Identifier(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::IsJson { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::BinaryOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::Collate { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_)
            | Expr::Tuple(_)
            | Expr::Array(_)
            | Expr::Interval(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)
            // `:name` in a place where the parser reads a path.
            | Expr::Named { .. } => {}
            Expr::JsonAccess { .. }
            | Expr::InUnnest { .. }
            | Expr::Struct { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::OuterJoin(_)
            | Expr::Prior(_)
            | Expr::Lambda(_) => self.foreign("An expression"),
        }
    }

    /// A function behind syntax of its own.
    fn builtin(&mut self, name: &str) {
        self.found.mentions.functions.insert(name.to_owned());
    }

    /// A function behind syntax of its own, in the place of a table.
    fn syntax(&mut self, name: &str) {
        self.builtin(name);
        self.seen.insert(name.to_owned());
        self.seen.insert(name.to_uppercase());
    }

    fn json_columns(&mut self, columns: &[JsonTableColumn]) {
        let mut pending: Vec<&JsonTableColumn> = columns.iter().collect();
        while let Some(column) = pending.pop() {
            match column {
                JsonTableColumn::Named(column) => self.column_type(&column.r#type),
                JsonTableColumn::ForOrdinality(_) => {}
                JsonTableColumn::Nested(nested) => pending.extend(&nested.columns),
            }
        }
    }

    /// The type of a column that is made of text inside a document.
    fn column_type(&mut self, data_type: &sqlparser::ast::DataType) {
        if self.dialect == Dialect::MySql && matches!(data_type, sqlparser::ast::DataType::Time(..)) {
            calls::refuse_moment(self.found);
        }
        if types::classify(data_type, self.dialect) == TypeClass::Clock {
            self.found.refuse(Reason::SpecialDate, "A text inside a document becomes a date, and may say \"now\".");
        }
        self.cast(None, data_type);
    }
}

/// The expression that an argument is, if it is one.
pub(super) fn argument(argument: &FunctionArg) -> Option<&Expr> {
    let expr = match argument {
        FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg) => arg,
    };
    match expr {
        FunctionArgExpr::Expr(expr) => Some(expr),
        FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_) => {
            None
        }
    }
}
